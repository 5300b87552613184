/** Makes a Bus of a NATS connection: calls out (caller.ts), calls in (server.ts), discovery (discovery.ts). */
import { nuid } from 'nats'
import type { Log } from '../log.ts'
import { within } from '../pause.ts'
import type { Bus, Notifications } from './bus.ts'
import { Caller } from './caller.ts'
import type { OpenKeeper } from './callkeeper.ts'
import { type BusOptions, type Connection, openConnection } from './connection.ts'
import { announce } from './discovery.ts'
import { discover } from './inspect/discover.ts'
import { inspect } from './inspect/inspect.ts'
import { JetStream } from './jetstream.ts'
import { BusJournals } from './journal/journals.ts'
import { answerWhetherAlive, isAlive } from './liveness.ts'
import { BusNotifications } from './notifications.ts'
import { Outbox } from './outbox.ts'
import { Keeper } from './queue/keeper.ts'
import { checkEnqueue } from './queue/producer.ts'
import { Queues, type QueuesOptions } from './queue/queues.ts'
import { busSchedules } from './schedules.ts'
import { Server } from './server.ts'
import { States } from './state/states.ts'
import { callSubject, cancelSubject } from './subjects.ts'
import { BusSurvey } from './survey/survey.ts'
import { type Turns, takeTurn } from './turns.ts'

/** Connects and returns the bus; waits for a server as long as it takes, or until `signal`. */
export async function openBus(
  name: string,
  options: BusOptions,
  log: Log,
  signal: AbortSignal,
  queuesOptions: QueuesOptions = {},
): Promise<Bus> {
  const connection = await openConnection(name, options, log, signal)
  const { nc } = connection
  const outbox = new Outbox(nc)
  const caller = new Caller(connection, outbox)
  const server = new Server(nc, outbox)
  const id = nuid.next()
  const { replicas } = options
  const js = new JetStream(caller)
  const states = new States(js, { nc, connection, log }, replicas)
  const alive: Bus['isAlive'] = (other, withinMs) => isAlive(connection, caller, other, withinMs)
  answerWhetherAlive(nc, id)
  const maxPayload = (): number => nc.info?.max_payload ?? DEFAULT_MAX_PAYLOAD
  const journals = new BusJournals({ js, id, maxPayload, log, replicas, isAlive: alive })
  const notifications = new BusNotifications(js, nc, replicas, log)
  const tell: Notifications['tell'] = (notification, about) => notifications.tell(notification, about)
  const turns: Turns = (cage, name, everyMs) => takeTurn(states, cage, name, everyMs)
  const queues = new Queues({ id, nc, connection, outbox, caller, log, tell, turns }, { replicas, ...queuesOptions })
  return {
    id,
    get connected() {
      return connection.connected
    },
    get server() {
      return nc.getServer()
    },
    done: connection.done,
    call: (cage, module, method, args, callOptions) => caller.call(cage, module, method, args, callOptions),
    post: (cage, module, method, args, callOptions) => caller.post(cage, module, method, args, callOptions),
    cancel: (owner) => caller.cancel(owner),
    serve: (cage, module, handler) => server.serve(cage, module, handler),
    enqueue: (queue, cage, module, method, args, enqueueOptions) => queues.enqueue(queue, cage, module, method, args, enqueueOptions),
    checkEnqueue: (queue, cage, module, method, checkedOptions) => checkEnqueue(queue, callSubject(cage, module, method), checkedOptions),
    consume: (queue, cage, policy, handler) => queues.consume(queue, cage, policy, handler),
    queues: queues.admin,
    schedules: busSchedules(nc, caller, outbox),
    state: (cage, module, maxAgeMs) => states.of(cage, module, maxAgeMs),
    journals,
    notifications,
    survey: new BusSurvey(nc, log),
    discover: (discoverOptions) => discover(nc, discoverOptions),
    inspect: () => inspect(connection, js, usesTls(options)),
    isAlive: alive,
    async announce(service) {
      const cancellations = nc.subscribe(cancelSubject(service.name), {
        callback: (error, msg) => {
          if (!error) server.cancel(msg.string())
        },
      })
      const discovery = await announce(nc, id, service)
      return { drain: async () => void (await Promise.all([discovery.drain(), cancellations.drain()])) }
    },
    stats: () => ({ lateReplies: caller.lateReplies, reconnects: connection.reconnects, inFlight: caller.inFlight }),
    roundTrip: (withinMs) => roundTrip(connection, withinMs),
    async close() {
      journals.close()
      await queues.close()
      await notifications.close(connection.connected)
      caller.close()
      await close(connection)
    },
  }
}

/** See `Bus.roundTrip`. */
async function roundTrip({ connected, nc }: Connection, withinMs: number): Promise<number | undefined> {
  if (!connected || nc.isClosed()) return undefined
  const begun = performance.now()
  const answered = nc.flush().then(
    () => performance.now() - begun,
    () => undefined, // the connection ended meanwhile
  )
  return await within(withinMs, answered)
}

/** A server's own, bytes. */
const DEFAULT_MAX_PAYLOAD = 1_048_576

/** Connects for nothing but to keep the calls of these tables alive. */
export async function openKeeper(
  name: string,
  options: BusOptions,
  log: Log,
  signal: AbortSignal,
  tables: ReadonlySet<SharedArrayBuffer>,
): Promise<OpenKeeper> {
  const connection = await openConnection(name, options, log, signal)
  const js = new JetStream(new Caller(connection, new Outbox(connection.nc)))
  const keeper = new Keeper(js, tables, log)
  const notifications = new BusNotifications(js, connection.nc, options.replicas, log)
  return {
    tell: (notification, about) => notifications.tell(notification, about),
    handBack: (table, culprit) => keeper.handBack(table, culprit),
    close: async () => {
      keeper.close()
      await notifications.close(connection.connected)
      await close(connection)
    },
  }
}

function usesTls({ tls, servers }: BusOptions): boolean {
  return tls !== undefined || servers.some((server) => server.startsWith('tls://'))
}

async function close({ connected, nc }: Connection): Promise<void> {
  if (connected && !nc.isClosed()) await within(DRAIN_MS, nc.drain()) // or the server has been silent for too long
  await nc.close()
}

/** What is left of the connection's time once it is to be closed, ms. */
const DRAIN_MS = 5_000
