import { defineCage } from 'menagerie'

export default defineCage({
  queues: { orders: { maxAttempts: 5 } },
})
