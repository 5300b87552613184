/** Schedules as engineers ask them: requests and answers in JSON, each answered by one copy of the cage. */
import type { Msg, NatsConnection } from 'nats'
import { CageError, toCageError } from '../errors.ts'
import type { ScheduleInfo, Schedules } from './bus.ts'
import type { Caller } from './caller.ts'
import { gather } from './gather.ts'
import { isCode } from './jetstream.ts'
import type { Outbox } from './outbox.ts'
import { errorHeaders } from './server.ts'
import { ALL_SCHEDULES, scheduleSubject } from './subjects.ts'
import { encodeError, encodeResult } from './wire.ts'

const ANSWER_MS = 10_000
/** All schedules have answered, or this is over. */
const LIST_MS = 1_000
const QUIET_MS = 300

const NOTHING = new Uint8Array(0)

/** See `Schedules`. */
export function busSchedules(nc: NatsConnection, caller: Caller, outbox: Outbox): Schedules {
  return {
    list,
    serve,
    info: (cage, name) => ask<ScheduleInfo>(cage, name, 'info'),
    run: (cage, name) => ask<{ id: string }>(cage, name, 'run'),
  }

  async function serve(
    cage: string,
    name: string,
    schedule: { info(): Promise<object>; run(): Promise<object> },
  ): ReturnType<Schedules['serve']> {
    const on = (subject: string, act: () => Promise<object>) =>
      nc.subscribe(subject, {
        queue: `${cage}.${name}`,
        callback: (error, msg) => {
          if (!error) void answer(msg, act)
        },
      })
    const subscriptions = [
      on(ALL_SCHEDULES, () => schedule.info()),
      on(scheduleSubject(cage, name, 'info'), () => schedule.info()),
      on(scheduleSubject(cage, name, 'run'), () => schedule.run()),
    ]
    await nc.flush()
    return { drain: async () => void (await Promise.all(subscriptions.map((subscription) => subscription.drain()))) }
  }

  async function answer({ reply }: Msg, act: () => Promise<object>): Promise<void> {
    try {
      const data = encodeResult(await act(), 'json')
      if (reply) outbox.publish(reply, data)
    } catch (thrown) {
      const error = toCageError(thrown)
      if (reply) outbox.publishWithHeaders(reply, errorHeaders(error), encodeError(error.toJSON(), 'json'))
    }
  }

  async function ask<T>(cage: string, name: string, verb: 'info' | 'run'): Promise<T> {
    const msg = await caller.request(scheduleSubject(cage, name, verb), NOTHING, Date.now() + ANSWER_MS).catch((error: unknown) => {
      throw isCode(error, 'UNAVAILABLE')
        ? new CageError('UNAVAILABLE', `no copy of cage ${cage} has a schedule ${name}`, { cause: error })
        : error
    })
    return JSON.parse(msg.string()) as T // only schedules answer there
  }

  async function list(): Promise<ScheduleInfo[]> {
    const found: ScheduleInfo[] = []
    const { answers } = await gather(nc, ALL_SCHEDULES, NOTHING, { withinMs: LIST_MS, quietMs: QUIET_MS })
    for (const msg of answers) {
      if (msg.headers) continue // one cannot tell now
      found.push(JSON.parse(msg.string()) as ScheduleInfo) // as above
    }
    return found.sort((a, b) => `${a.cage}.${a.name}`.localeCompare(`${b.cage}.${b.name}`))
  }
}
