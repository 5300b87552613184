/** States: the state of every module that asks for it over one connection. */
import type { NatsConnection } from 'nats'
import type { StateStore } from '../bus.ts'
import type { JetStream } from '../jetstream.ts'
import { Bucket } from './bucket.ts'
import { Store } from './store.ts'
import type { WatchDeps } from './watch.ts'

export class States {
  readonly #js: JetStream
  readonly #watching: WatchDeps
  readonly #replicas: number | undefined
  readonly #buckets = new Map<string, Bucket>()

  constructor(js: JetStream, watching: WatchDeps, replicas: number | undefined) {
    this.#js = js
    this.#watching = watching
    this.#replicas = replicas
  }

  /** See `Bus.state`. */
  of(cage: string, module: string, maxAgeMs?: number): StateStore {
    let bucket = this.#buckets.get(cage)
    if (!bucket) {
      const { nc }: { nc: NatsConnection } = this.#watching
      bucket = new Bucket(this.#js, cage, this.#replicas, () => nc.info?.version ?? '', maxAgeMs)
      this.#buckets.set(cage, bucket)
    }
    return new Store(this.#js, bucket, this.#watching, cage, module)
  }
}
