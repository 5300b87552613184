/**
 * Void: a resource that is nothing. Every method returns its arguments; for tests and measurements.
 *
 *   resources: { nothing: { kind: 'void' } },
 *   await ctx.resource('nothing').anything(1, 2)   // [1, 2]
 */
import type { Resource, ResourceConnection } from '../adapter.ts'

export async function open(): Promise<Resource> {
  return { connect: async () => new VoidConnection() }
}

class VoidConnection implements ResourceConnection {
  readonly participant = 'prepared'
  #closed = false

  get broken(): boolean {
    return this.#closed
  }

  async call(_method: string, args: readonly unknown[]): Promise<unknown[]> {
    return [...args]
  }

  async begin(): Promise<void> {}
  async prepare(): Promise<void> {}
  async commit(): Promise<void> {}
  async rollback(): Promise<void> {}
  async finish(): Promise<void> {}

  async leftovers(): Promise<[]> {
    return []
  }

  async close(): Promise<void> {
    this.#closed = true
  }
}
