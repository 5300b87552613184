/** What a module sees of XML-RPC. Types only; users import them from 'menagerie'. */

/**
 * A number that is sent as a double although it is whole: `{ $double: 2 }`. Plain data, so that it crosses the bus in a result.
 * Numbers that are not whole are doubles anyway, and what is received as a double is a number.
 */
export interface Double {
  readonly $double: number
}

/** An XML-RPC server: `interface CageResources { partner: XmlrpcResource }`. */
export interface XmlrpcResource {
  /** Calls a method of the server. A fault rejects: FAULT, or the code that its number means; details are { faultCode, faultString }. */
  call<T = unknown>(method: string, ...params: unknown[]): Promise<T>
  /** Several calls in one request (system.multicall), and the outcome of each. */
  multicall(calls: readonly (readonly [method: string, ...params: unknown[]])[]): Promise<PromiseSettledResult<unknown>[]>
}
