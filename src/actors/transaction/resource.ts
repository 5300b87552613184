/** Resource: a call to a resource as a member of a transaction, on a connection of its own. */
import type { Scope } from '../../adapters/adapter.ts'
import type { Lease } from '../../adapters/pool/contract.ts'
import { CageError } from '../../errors.ts'
import type { Resources } from '../resources.ts'
import type { CallRecord, ParticipantRecord } from './events.ts'
import type { Participant, Place } from './participant.ts'

/** Has the call done, seen by whoever follows the request. */
export type Watched = (scope: Scope, work: (scope: Scope) => Promise<unknown>) => Promise<unknown>

/** A call to a resource. */
export class ResourceParticipant implements Participant {
  readonly record: Extract<ParticipantRecord, { kind: 'resource' }>
  readonly resource: string
  readonly args: readonly unknown[]
  readonly #call: CallRecord
  readonly #options: Readonly<Record<string, unknown>>
  readonly #resources: Pick<Resources, 'call' | 'counted'>
  readonly #watched: Watched
  #lease: Lease | undefined
  #open = false
  #mayBePrepared = false

  constructor(
    resources: Pick<Resources, 'call' | 'counted'>,
    resource: string,
    call: CallRecord,
    options: Readonly<Record<string, unknown>>,
    watched: Watched,
  ) {
    this.resource = resource
    this.args = call.args
    this.#call = call
    this.#options = options
    this.#resources = resources
    this.#watched = watched
    this.record = { kind: 'resource', name: `${resource}.${call.method}`, participant: 'irreversible', resource }
  }

  get isPlain(): boolean {
    return Object.keys(this.#options).length === 0
  }

  get isLost(): boolean {
    return this.#lease?.connection.broken ?? false
  }

  take(lease: Lease): void {
    this.#lease = lease
    const { participant } = lease.connection
    const undoable = participant === 'irreversible' && this.record.undo
    this.record.participant = undoable ? 'compensable' : participant
    if (participant === 'one-phase') this.record.call = this.#call
    else delete this.record.call
  }

  alone(scope: Scope): Promise<unknown> {
    return this.#watched(scope, (within) => this.#resources.call(this.resource, this.#call.method, this.#call.args, within))
  }

  async execute({ branch, begun }: Place, scope: Scope): Promise<unknown> {
    const { connection } = this.#held()
    if (this.record.participant === 'compensable') await begun()
    if (connection.begin) {
      this.#open = true
      await connection.begin({ id: branch, options: this.#options }, scope)
    }
    const { method, args } = this.#call
    return await this.#watched(scope, (within) => this.#resources.counted(this.resource, () => connection.call(method, args, within)))
  }

  prepare(scope: Scope): Promise<void> | undefined {
    if (this.record.participant !== 'prepared') return undefined
    this.#mayBePrepared = true
    return this.#held().connection.prepare?.(scope)
  }

  async identity(scope: Scope): Promise<unknown> {
    return await this.#held().connection.identity?.(scope)
  }

  async commit(scope: Scope): Promise<void> {
    const { connection } = this.#held()
    if (connection.broken) throw new CageError('UNAVAILABLE', `the connection to ${this.resource} is lost`)
    await connection.commit?.(scope)
    this.#open = false
  }

  async rollback(scope: Scope): Promise<boolean> {
    const { participant } = this.record
    if (!this.#lease || !this.#open) return participant === 'prepared' || participant === 'one-phase' || participant === 'deferred'
    this.#open = false
    if (this.#lease.connection.broken) return false
    await this.#lease.connection.rollback?.(scope)
    return !this.#mayBePrepared // a branch whose answer got lost may be there, and is ended by its name
  }

  release(): void {
    if (this.#open) this.#lease?.destroy()
    else this.#lease?.release()
    this.#lease = undefined
  }

  #held(): Lease {
    if (!this.#lease) throw new CageError('INTERNAL', `${this.record.name} has no connection`)
    return this.#lease
  }
}
