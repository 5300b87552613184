/** Percent-encoding in the URLs of servers: RFC 3986, 2.1. Pure. */

/** Whether every % begins an escape, and all of them are UTF-8, so that it can be decoded. */
export function isEncoded(given: string): boolean {
  try {
    decodeURIComponent(given)
    return true
  } catch {
    return false // its only complaint
  }
}
