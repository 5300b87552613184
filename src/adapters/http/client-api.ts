/** What a module sees of an HTTP resource. Types only; users import them from 'menagerie'. */

/** Text and lists of text, numbers and so on; `undefined` is left out. */
export type HttpQuery = Readonly<Record<string, unknown>>

/** How one request differs. */
export interface HttpCallOptions {
  query?: HttpQuery | undefined
  headers?: Readonly<Record<string, string>> | undefined
  /** The same of all requests that mean the same, e.g. `ctx.request.callId`: the server does it once, and it may be repeated. */
  idempotencyKey?: string | undefined
  /** Statuses from 400 on are answers too. Default false: they are errors. */
  anyStatus?: boolean | undefined
  /** What the body is taken for. Default: what its `content-type` says; of an unknown type, bytes. */
  as?: 'json' | 'text' | 'bytes' | undefined
}

/** A whole request. */
export interface HttpCall extends HttpCallOptions {
  /** Default GET. */
  method?: string | undefined
  /** Below the resource's `url`, percent-encoded: `/orders/7`. */
  path: string
  /** Text, bytes, URLSearchParams (a form), an async iterable of bytes (streamed, never repeated), or a value that is sent as JSON. */
  body?: unknown
}

/** An answer. */
export interface HttpAnswer {
  status: number
  /** Names in lower case. */
  headers: Record<string, string | string[]>
  /** `undefined` if it is empty. */
  body: unknown
}

/** An answer whose body is read piece by piece, while `work` runs. */
export interface HttpStreamedAnswer extends Omit<HttpAnswer, 'body'> {
  body: AsyncIterable<Uint8Array>
}

/** An HTTP resource: `interface CageResources { rates: HttpResource }`. */
export interface HttpResource {
  request(call: HttpCall): Promise<HttpAnswer>
  get(path: string, options?: HttpCallOptions): Promise<HttpAnswer>
  head(path: string, options?: HttpCallOptions): Promise<HttpAnswer>
  delete(path: string, options?: HttpCallOptions): Promise<HttpAnswer>
  post(path: string, body?: unknown, options?: HttpCallOptions): Promise<HttpAnswer>
  put(path: string, body?: unknown, options?: HttpCallOptions): Promise<HttpAnswer>
  patch(path: string, body?: unknown, options?: HttpCallOptions): Promise<HttpAnswer>
  /** Resolves with what `work` does; the body's size has no limit. */
  stream<T>(call: HttpCall, work: (answer: HttpStreamedAnswer) => Promise<T>): Promise<T>
}
