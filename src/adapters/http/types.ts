/**
 * What a catch-all handler gets and gives. Plain data: it crosses the bus, so any copy of the cage may serve.
 *
 *   export async function serve(ctx: Context, request: HttpRequest): Promise<HttpResponse> {
 *     if (request.path === '/health') return { body: { ok: true } }
 *     return { status: 404, body: `${request.path} is not here\n` }
 *   }
 */

/** A whole request. */
export interface HttpRequest {
  /** In upper case. */
  readonly method: string
  /** Path and query as they came, percent-encoded: `/a%20b?x=1`. */
  readonly url: string
  /** `url` without the query, still percent-encoded: decode it before you look at it. */
  readonly path: string
  /** Decoded; a name that came several times has a list. */
  readonly query: Readonly<Record<string, string | string[]>>
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[]>>
  /** By its type: parsed JSON, a form's fields, text, else bytes; undefined if there is none. */
  readonly body: unknown
  /** The client's address; with trusted proxies, the one that they tell. */
  readonly ip: string
  /** As the client names this server, port included. */
  readonly host: string
  readonly protocol: 'http' | 'https'
  /** The common name in the client's certificate, where one is demanded. */
  readonly clientName?: string | undefined
}

/** What to answer. */
export interface HttpResponse {
  /** Default 200. */
  status?: number | undefined
  /** Those of the connection itself (`content-length`, `transfer-encoding`, `connection` ...) are the server's. */
  headers?: Readonly<Record<string, string | readonly string[]>> | undefined
  /** Text, bytes, or a value that is sent as JSON; `content-type` follows from it unless `headers` say otherwise. */
  body?: unknown
}

/** One event of a stream (`events` of an HTTP interface), as a method gives it. */
export interface HttpEvent {
  /** What the client has seen: it comes back as `lastEventId`, also when the client connects again. */
  id?: string | undefined
  /** Its kind. Default: `message`. */
  event?: string | undefined
  /** Text, or a value that is sent as JSON; undefined: only the id is told. */
  data?: unknown
}
