/**
 * Watch: tells people what no copy can tell of itself any more: a cage's copy that was there and is gone, and that it is back. A schedule calls it,
 * so that one copy of the monitor does it.
 * W1. A copy is gone when two looks in a row have not seen it, on a bus that answers; one that was told to stop is not missed.
 */
import type { Context, CopyStatus } from 'menagerie'
import { isExcused } from './lib/departures.ts'
import type { NotificationView } from './lib/model.ts'

/** `cage node` → what is known of it; kept for all copies of the monitor. */
type Places = Record<string, { at: number; missing: number; told: boolean }>

const LOOKS = 2
/** What is away for longer is forgotten. */
const FORGOTTEN_MS = 86_400_000
const RECENT_MS = 120_000
/** Old enough to be told anew for a state's sake. */
const RENEWED_MS = 60_000

export async function look(ctx: Context): Promise<void> {
  const copies = (await ctx.admin.survey.status()).filter(({ only }) => only === undefined)
  const now = Date.now()
  if (!copies.some(({ cage, node }) => cage === ctx.self.cage && node === ctx.self.node)) return // we do not even see ourselves
  const before = (await ctx.state.get<Places>('places')) ?? {}
  const seen = new Map(copies.map((copy) => [`${copy.cage} ${copy.node}`, copy]))
  const isMissed = Object.keys(before).some((place) => !seen.has(place) && !before[place]?.told)
  const told = isMissed ? await recent(ctx, now) : []
  const { places, gone, back } = compare(before, seen, told, now)
  if (JSON.stringify(places) !== JSON.stringify(before)) await ctx.state.set('places', places)
  for (const [cage, node, at] of gone)
    await ctx.notify.error(`cage ${cage} on ${node} is gone`, { kind: 'cage.down', cage, node, lastSeen: new Date(at).toISOString() })
  for (const [cage, node] of back) await ctx.notify.info(`cage ${cage} on ${node} is back`, { kind: 'cage.up', cage, node })
}

interface Compared {
  places: Places
  gone: [cage: string, node: string, at: number][]
  back: [cage: string, node: string][]
}

/** Pure (W1). */
function compare(before: Places, seen: ReadonlyMap<string, CopyStatus>, told: readonly NotificationView[], now: number): Compared {
  const places: Places = {}
  const gone: Compared['gone'] = []
  const back: Compared['back'] = []
  for (const [place, known] of Object.entries(before)) {
    if (seen.has(place)) continue
    const [cage = '', node = ''] = place.split(' ')
    if (now - known.at > FORGOTTEN_MS) continue
    if (isExcused({ cage, node, state: 'serving' }, known.at, told) && !known.told) continue
    const missing = known.missing + 1
    const isNews = missing >= LOOKS && !known.told
    if (isNews) gone.push([cage, node, known.at])
    places[place] = { at: known.at, missing: Math.min(missing, LOOKS), told: known.told || isNews }
  }
  for (const [place, { cage, node, state }] of seen) {
    const known = before[place]
    if (known?.told) back.push([cage, node])
    const at = known && now - known.at < RENEWED_MS && known.missing === 0 ? known.at : now
    if (state !== 'stopping') places[place] = { at, missing: 0, told: false }
  }
  return { places, gone, back }
}

async function recent(ctx: Context, now: number): Promise<NotificationView[]> {
  const found: NotificationView[] = []
  for await (const one of ctx.admin.notifications.list({ since: now - RECENT_MS })) found.push(one)
  return found
}
