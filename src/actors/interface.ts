/** Interface: an inbound adapter as a supervised child. A failing start is the supervisor's to repeat. */
import type { Listener } from '../adapters/adapter.ts'
import type { Log } from '../log.ts'
import type { Child } from './supervisor.ts'

export class InterfaceActor implements Child {
  readonly id: string
  readonly restart = 'permanent'
  readonly #listen: () => Promise<Listener>
  readonly #log: Log
  #listener: Listener | undefined

  constructor(id: string, listen: () => Promise<Listener>, log: Log) {
    this.id = id
    this.#listen = listen
    this.#log = log
  }

  get done(): Promise<void> {
    return this.#listener?.done ?? Promise.resolve()
  }

  async start(): Promise<void> {
    this.#listener = await this.#listen()
    this.#log.info({ interface: this.id, address: this.#listener.address }, 'interface listens')
  }

  async stop(): Promise<void> {
    await this.#listener?.stop()
  }
}
