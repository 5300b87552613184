import { defineCage } from 'menagerie'

/** One call is a whole measurement. */
export default defineCage({ timeoutMs: 120_000 })
