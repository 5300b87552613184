/**
 * Turn: what arrives on all connections in one turn of the event loop is called together, so that it is one write to the bus and not
 * one for each request. With 64 connections that halves a request's CPU; with one it costs nothing.
 */
export class Turn {
  #end: Promise<void> | undefined

  /** Resolves, for all who wait for it, when everything that could be read has been. */
  end(): Promise<void> {
    this.#end ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#end = undefined
        resolve()
      })
    })
    return this.#end
  }
}
