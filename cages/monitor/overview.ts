/**
 * Overview: what all cages do, surveyed by a timer that ends with this version; seen live, and as a history that is kept in the module's state.
 * O1. While somebody looks it is renewed every WATCHED_MS, else every IDLE_MS: the history goes on.
 * O2. Several copies each see everything; what they keep is laid together.
 */
import type { Admin, Context, HttpEvent, HttpRequest, Log, QueueSummary } from 'menagerie'
import { checkRequest } from './lib/browser.ts'
import { Collector } from './lib/collector.ts'
import { isExcused } from './lib/departures.ts'
import { FactKeeper } from './lib/facts.ts'
import { type Chunk, COARSE, FINE, type History, type Range, rounded } from './lib/history.ts'
import type { Overview, QueueView, History as View } from './lib/model.ts'
import { problemsOf } from './lib/problems.ts'
import { cageViews, flowViews } from './lib/views.ts'

const WATCHED_MS = 2_000
const IDLE_MS = 5_000
/** Who has asked since then looks. */
const LOOKS_MS = 30_000
/** What an event may take of a message of 1 MB. */
const EVENT_BYTES = 900_000
/** Two copies that answer in turn do not make it twice as fast. */
const APART_MS = 900
const NEWEST = 20

export const options: { maxQueued: number; concurrency: number } = { concurrency: 1_000, maxQueued: 1_000 } // who waits for news does nothing

interface Watch {
  admin: Admin
  log: Log
  collector: Collector
  keeper: FactKeeper
  lookedAt: number
  latest: { overview: Overview; text: string } | undefined
  waiting: Set<() => void>
  ended: boolean
  /** Cuts the pause between two surveys short. */
  hurry: () => void
}

let watch: Watch | undefined

export async function start(ctx: Context): Promise<void> {
  const { admin, log } = ctx
  const collector = new Collector()
  const keeper = new FactKeeper(admin, (what, err) => log.debug({ what, err }, 'cannot be told now'))
  await load(ctx, collector).catch((err: unknown) => log.warn({ err }, 'the history cannot be read: it begins anew'))
  watch = {
    ...{ admin, log, collector, keeper, lookedAt: 0, latest: undefined, waiting: new Set() },
    ...{ ended: false, hurry: () => {} },
  }
  void follow(watch)
}

export async function stop(ctx: Context): Promise<void> {
  if (watch) end(watch)
  await keep(ctx).catch((err: unknown) => ctx.log.debug({ err }, 'the history could not be kept'))
}

/** The next overview after that with the id, for the page's stream of events. */
export async function next(ctx: Context, request: HttpRequest, lastEventId?: string): Promise<HttpEvent | undefined> {
  checkRequest(request, ctx.config)
  const after = Number(lastEventId ?? 0) + APART_MS
  const { overview, text } = await newest(ctx, after)
  return overview.at >= after ? { id: String(overview.at), event: 'overview', data: text } : undefined
}

/** The latest overview. */
export async function get(ctx: Context): Promise<Overview> {
  return (await newest(ctx, Date.now() - 2 * WATCHED_MS)).overview
}

/** The points of `cage.module.method` or `queue NAME`, of the last 15m or 24h. */
export async function history(_ctx: Context, name: string, range: '15m' | '24h'): Promise<View> {
  const { collector } = running()
  return (range === '24h' ? collector.coarse : collector.fine).view(name, Date.now())
}

/** Keeps what the history has gained; a schedule calls it. */
export async function keep(ctx: Context): Promise<void> {
  const { collector } = running()
  for (const [range, part] of parts(collector)) {
    for (const [key, chunk] of part.changedChunks()) {
      const ttlMs = range.stepMs * (range.steps + 2 * range.chunk)
      await ctx.state.update<Chunk>(key, (stored) => part.write(chunk, stored), { ttlMs })
      if (part.stepOf(Date.now()) >= (chunk + 1) * range.chunk) part.kept(chunk) // else there is more to come
    }
  }
}

async function load(ctx: Context, collector: Collector): Promise<void> {
  const keys = await ctx.state.keys()
  for (const [range, part] of parts(collector)) {
    const own = keys.filter((key) => key.startsWith(`${range.key}.`))
    await Promise.all(
      own.map(async (key) => {
        const chunk = await ctx.state.get<Chunk>(key)
        if (chunk) part.read(Number(key.slice(2)), chunk)
      }),
    )
  }
}

function parts({ fine, coarse }: Collector): [Range, History][] {
  return [
    [FINE, fine],
    [COARSE, coarse],
  ]
}

/** O1. */
async function follow(mine: Watch): Promise<void> {
  const { admin, collector, keeper, log } = mine
  while (!mine.ended) {
    const began = Date.now()
    const isWatched = began - mine.lookedAt < LOOKS_MS
    try {
      const [copies] = await Promise.all([admin.survey.status(), isWatched ? keeper.refresh() : undefined])
      collector.take(copies, Date.now())
      if (isWatched) {
        mine.latest = make(mine)
        for (const wake of mine.waiting) wake()
      }
    } catch (err) {
      log.debug({ err }, 'a survey was in vain')
    }
    const period = Date.now() - mine.lookedAt < LOOKS_MS ? WATCHED_MS : IDLE_MS
    if (!mine.ended) await pause(mine, Math.max(100, began + period - Date.now()))
  }
}

function pause(mine: Watch, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    mine.hurry = () => {
      clearTimeout(timer)
      resolve()
    }
  })
}

function end(mine: Watch): void {
  mine.ended = true
  mine.hurry()
  for (const wake of mine.waiting) wake()
}

function make(mine: Watch): { overview: Overview; text: string } {
  const overview = overviewOf(mine)
  const text = JSON.stringify(overview)
  if (text.length < EVENT_BYTES) return { overview, text }
  for (const { modules } of overview.cages)
    for (const { methods } of modules) for (const method of methods) Object.assign(method, { spark: [], errorSpark: [] }) // charts are in the history, too
  return { overview, text: JSON.stringify(overview) }
}

function overviewOf({ collector, keeper: { facts } }: Watch): Overview {
  const at = Date.now()
  const cages = cageViews(collector)
  const copies = cages.flatMap((cage) => cage.copies).filter(({ state }) => state !== 'gone')
  return {
    at,
    problems: problemsOf(collector, cages, facts, (seen) => isExcused(seen.status, seen.at, facts.notifications), at),
    cages,
    queues: facts.queues.map((queue) => queueView(collector, queue)),
    flows: flowViews(collector),
    schedules: facts.schedules,
    counts: {
      nodes: new Set(copies.map(({ node }) => node)).size,
      copies: copies.length,
      dead: facts.queues.reduce((total, { dead }) => total + dead, 0),
      incidents: facts.incidents.length,
      openSagas: facts.openSagas,
      openTransactions: facts.openTransactions,
    },
    notifications: facts.notifications.slice(0, NEWEST),
  }
}

function queueView(collector: Collector, { queue, mode, waiting, running: runs, delayed, dead, bytes, oldestAt }: QueueSummary): QueueView {
  const name = `queue ${queue}`
  const track = collector.track(name)
  return {
    ...{ queue, mode, waiting, running: runs, delayed, dead, bytes, oldestAt },
    ...{ rate: rounded(track?.rate ?? 0), retriedRate: rounded(track?.errorRate ?? 0), spark: collector.spark(name, 'rate') },
  }
}

/** The latest overview that was made at `after` or later, or, at the deadline, whichever there is. */
async function newest(ctx: Context, after: number): Promise<{ overview: Overview; text: string }> {
  const mine = running()
  if (Date.now() - mine.lookedAt >= LOOKS_MS) mine.hurry()
  mine.lookedAt = Date.now()
  const { signal } = ctx
  while (!signal.aborted && !mine.ended && (mine.latest?.overview.at ?? 0) < after) {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        mine.waiting.delete(wake)
        resolve()
      }
      mine.waiting.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
    mine.lookedAt = Date.now()
  }
  return mine.latest ?? make(mine)
}

function running(): Watch {
  if (!watch) throw new Error('the module has not started')
  return watch
}
