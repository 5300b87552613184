/** What has no result yet, among the results that `accept` of a transaction is given. */
export const PENDING: unique symbol = Symbol('pending')
