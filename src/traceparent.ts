/** Trace context as it travels: the header `traceparent` of W3C Trace Context, 3.2, in every protocol that has headers. */

const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}(-[\x21-\x7e]{0,100})?$/

/** The text if it is one; strangers may send anything. */
export function traceparentOf(text: unknown): string | undefined {
  return typeof text === 'string' && TRACEPARENT.test(text) ? text : undefined
}
