/**
 * Search: everything about a request, a call, a saga, a transaction or a word, from wherever it is kept, in one timeline.
 * Q1. What is found by a word names requests and calls; what else is known of those belongs to it.
 */
import { type Admin, CageError, type Step } from 'menagerie'
import type { Moment } from './model.ts'
import { ofCall, ofLetter, ofNotification, ofSaga, ofStep, ofTransaction } from './timelines.ts'

/** So many requests and calls are followed. */
const FOLLOWED = 8
const LETTERS = 2_000
const NOTIFIED_MS = 7 * 86_400_000
const MOMENTS = 2_000

export async function searchAll(admin: Admin, text: string, now: number): Promise<Moment[]> {
  const wanted = text.trim()
  if (wanted === '' || wanted.length > 256) throw new CageError('INVALID_ARGUMENT', 'what is searched for has 1 to 256 characters')
  const [first, letters] = await Promise.all([admin.survey.find(wanted), lettersWith(admin, wanted)])
  const requests = [...new Set(first.map(({ request }) => request))].filter((id) => id !== '' && id !== wanted).slice(0, FOLLOWED)
  const calls = [...new Set([wanted, ...first.flatMap(({ callId }) => callId ?? []), ...letters.map(({ id }) => id)])].slice(0, FOLLOWED)
  const more = await Promise.all([...requests, ...calls.filter((id) => id !== wanted)].map((id) => admin.survey.find(id)))
  const [ofCalls, ofSagas, ofTransactions, notified] = await Promise.all([
    Promise.all(calls.map(async (id) => known(admin.queues.status(id)))),
    Promise.all(calls.map(async (id) => known(admin.sagas.show(id)))),
    known(admin.transactions.find(wanted)),
    notificationsWith(admin, [wanted, ...requests], now),
  ])
  const steps = new Map([...first, ...more.flat()].map((step) => [keyOf(step), step]))
  const moments = [
    ...[...steps.values()].map(ofStep),
    ...ofCalls.flatMap((status) => (status ? ofCall(status) : [])),
    ...letters.map(ofLetter),
    ...ofSagas.flatMap((saga) => (saga ? ofSaga(saga) : [])),
    ...(ofTransactions ? ofTransaction(ofTransactions) : []),
    ...notified,
  ]
  return moments.sort((a, b) => a.at - b.at).slice(-MOMENTS)
}

/** Two questions may find the same step. */
function keyOf({ at, node, what, kind, request, ms }: Step): string {
  return `${at} ${node} ${kind} ${what} ${request} ${ms}`
}

/** Undefined if there is nothing of the kind, or nobody keeps any. */
async function known<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof CageError && ['NOT_FOUND', 'INVALID_ARGUMENT', 'UNAVAILABLE'].includes(error.code)) return undefined
    throw error
  }
}

async function lettersWith(admin: Admin, text: string): Promise<Awaited<ReturnType<Admin['queues']['deadLetter']>>[]> {
  const found: Awaited<ReturnType<Admin['queues']['deadLetter']>>[] = []
  let n = 0
  try {
    for await (const letter of admin.queues.dead()) {
      if (++n > LETTERS) break
      if (letter.id === text || letter.id.startsWith(`${text}/`) || holds(letter.args, text)) found.push(letter)
    }
  } catch (error) {
    if (!(error instanceof CageError && error.code === 'UNAVAILABLE')) throw error // no JetStream: no dead letters
  }
  return found
}

async function notificationsWith(admin: Admin, texts: readonly string[], now: number): Promise<Moment[]> {
  const found: Moment[] = []
  for await (const one of admin.notifications.list({ since: now - NOTIFIED_MS })) {
    const isAbout = texts.some((text) => one.request === text || words(one.message).includes(text) || holds(one.details, text))
    if (isAbout) found.push(ofNotification(one))
  }
  return found
}

/** Whether a text or number in it is the text. */
function holds(value: unknown, text: string, depth = 8): boolean {
  if (typeof value === 'string') return value === text
  if (typeof value === 'number' || typeof value === 'bigint') return String(value) === text
  if (typeof value !== 'object' || value === null || depth === 0) return false
  return Object.values(value).some((one) => holds(one, text, depth - 1))
}

function words(message: string): string[] {
  return message.split(/[\s,;:"'()]+/)
}
