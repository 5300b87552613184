import { defineCage } from 'menagerie'

export default defineCage({ queues: { bench: { concurrency: 64 } } })
