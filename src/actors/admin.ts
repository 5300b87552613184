/** `ctx.admin`: what engineers see and do, of all cages, for those who write their tools: the monitor cage has nothing else. */
import type { Bus, Notifications, Schedules } from '../bus/bus.ts'
import type { QueueAdmin } from '../bus/queue/contract.ts'
import type { Survey } from '../bus/survey/contract.ts'
import { endedSagas, openSagas, type SagaDetails, type SagaInfo, sagaDetails } from './saga/listing.ts'
import { cageOf, type Order, resolve } from './saga/orders.ts'
import { endedTransactions, findTransaction, incidents, type OpenTransaction, openTransactions, orderAbout } from './transaction/admin.ts'
import type { TxRecord } from './transaction/history.ts'
import type { Incident } from './transaction/incidents.ts'

export interface Admin {
  readonly survey: Omit<Survey, 'serve'>
  readonly queues: QueueAdmin
  readonly schedules: Omit<Schedules, 'serve'>
  readonly notifications: Pick<Notifications, 'list' | 'follow'>
  readonly sagas: {
    /** Those that have not ended, oldest first. */
    open(cage?: string): Promise<SagaInfo[]>
    /** Those that have ended since (epoch ms), oldest first. */
    ended(since: number, cage?: string): AsyncIterable<SagaInfo>
    /** NOT_FOUND if nothing is known of it. */
    show(id: string): Promise<SagaDetails>
    /** Of a saga that is an incident; `compensate` of any that goes on. NOT_FOUND, CONFLICT. */
    resolve(id: string, order: Order): Promise<void>
  }
  readonly transactions: {
    open(cage?: string): Promise<OpenTransaction[]>
    /** Newest last. */
    ended(filter: { cage?: string | undefined; since?: number | undefined }): AsyncIterable<TxRecord>
    find(id: string): Promise<TxRecord | undefined>
    incidents(cage?: string): Promise<Incident[]>
    /** Resolves once it is carried out. NOT_FOUND, FAILED_ORDER, UNAVAILABLE: not by the deadline (epoch ms). */
    resolve(incident: string, order: Order, deadline: number): Promise<void>
  }
}

export function adminOf(bus: Bus): Admin {
  const { survey, queues, schedules, notifications } = bus
  return {
    survey,
    queues,
    schedules,
    notifications,
    sagas: {
      open: (cage) => openSagas(bus, cage),
      ended: (since, cage) => endedSagas(bus, cage, since),
      show: (id) => sagaDetails(bus, id),
      resolve: async (id, order) => void (await resolve(bus, await cageOf(bus, id), id, order)),
    },
    transactions: {
      open: (cage) => openTransactions(bus, cage),
      ended: (filter) => endedTransactions(bus, filter),
      find: (id) => findTransaction(bus, id),
      incidents: (cage) => incidents(bus, cage),
      resolve: (incident, order, deadline) => orderAbout(bus, incident, order, deadline),
    },
  }
}
