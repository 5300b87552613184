/**
 * Act: what people do from the page.
 * D1. No record, no action: who, what and why is a notification before it is done; what came of it, if that was a failure, is another.
 */
import { CageError, type Context } from 'menagerie'
import type { Act } from './lib/model.ts'

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal']
const ACTIONS = ['retry', 'done', 'skip', 'compensate'] as const
const MODES = ['open', 'paused', 'draining'] as const
const LONGEST_LOG_MS = 86_400_000
const KIND = 'monitor.act'

/** Does it; resolves with what people are told of it. */
export async function perform(ctx: Context, user: string, given: Record<string, unknown>): Promise<string> {
  const act = checked(given)
  const { reason, ...what } = act
  const text = `${user}: ${nameOf(act)}`
  const details = { kind: KIND, who: user, why: reason, what }
  await ctx.notify.info(`${text}: ${reason}`, details) // D1
  try {
    return await carryOut(ctx, user, act)
  } catch (error) {
    const said = error instanceof CageError ? `${error.code}: ${error.message}` : 'INTERNAL'
    await ctx.notify.warn(`${text} has failed: ${said}`, details)
    throw error
  }
}

async function carryOut({ admin, deadline }: Context, user: string, act: Act): Promise<string> {
  const { reason } = act
  switch (act.act) {
    case 'dead.retry':
      return `call ${await admin.queues.retry(act.seq, act.args)} is in its queue again`
    case 'dead.drop':
      if (!(await admin.queues.drop(act.seq))) throw new CageError('NOT_FOUND', `there is no dead letter ${act.seq}`)
      return `dead letter ${act.seq} is dropped`
    case 'transaction.resolve':
      await admin.transactions.resolve(act.id, { action: act.action, reason, by: user }, deadline - 500)
      return `incident ${act.id} is resolved`
    case 'saga.resolve':
      await admin.sagas.resolve(act.id, { action: act.action, reason, by: user })
      return `saga ${act.id} goes on`
    case 'queue.mode':
      await admin.queues.setMode(act.queue, act.mode, `${reason} (${user})`)
      return `queue ${act.queue} is ${act.mode}`
    case 'schedule.run':
      return `${act.cage}.${act.name} runs as ${(await admin.schedules.run(act.cage, act.name)).id}`
    case 'log.level': {
      const level = act.level as Parameters<typeof admin.survey.setLogLevel>[0]['level'] // it was checked
      const copies = await admin.survey.setLogLevel({ cage: act.cage, module: act.module, level, forMs: act.forMs })
      if (copies === 0) throw new CageError('NOT_FOUND', `no copy has ${act.cage}${act.module === undefined ? '' : `.${act.module}`}`)
      return `${copies} ${copies === 1 ? 'copy logs' : 'copies log'} at ${act.level}`
    }
  }
}

function nameOf(act: Act): string {
  switch (act.act) {
    case 'dead.retry':
    case 'dead.drop':
      return `${act.act} ${act.seq}${act.act === 'dead.retry' && act.args ? ' with other arguments' : ''}`
    case 'transaction.resolve':
    case 'saga.resolve':
      return `${act.act} ${act.id} ${act.action}`
    case 'queue.mode':
      return `queue ${act.queue} ${act.mode}`
    case 'schedule.run':
      return `${act.act} ${act.cage}.${act.name}`
    case 'log.level':
      return `log level ${act.level} of ${act.cage}${act.module === undefined ? '' : `.${act.module}`} for ${Math.round(act.forMs / 1_000)} s`
  }
}

/** INVALID_ARGUMENT names what is wrong. */
function checked(given: Record<string, unknown>): Act {
  const { reason, act, args, module } = given
  const text = (key: string): string => {
    const value = given[key]
    if (typeof value !== 'string' || value.trim() === '' || value.length > 1_000) throw invalid(`${key} must be text`)
    return value
  }
  const whole = (key: string, most: number): number => {
    const value = given[key]
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > most)
      throw invalid(`${key} must be a number from 1 to ${most}`)
    return value as number // it was looked at
  }
  const oneOf = <T extends string>(key: string, known: readonly T[]): T => {
    const value = known.find((one) => one === given[key])
    if (value === undefined) throw invalid(`${key} must be ${known.join(', ')}`)
    return value
  }
  if (typeof reason !== 'string' || reason.trim() === '') throw invalid('a reason is needed: it is kept')
  const why = { reason: text('reason') }
  if (act === 'dead.retry') {
    if (args !== undefined && !Array.isArray(args)) throw invalid('args must be a list')
    return { ...why, act, seq: whole('seq', Number.MAX_SAFE_INTEGER), args }
  }
  if (act === 'dead.drop') return { ...why, act, seq: whole('seq', Number.MAX_SAFE_INTEGER) }
  if (act === 'transaction.resolve' || act === 'saga.resolve') return { ...why, act, id: text('id'), action: oneOf('action', ACTIONS) }
  if (act === 'queue.mode') return { ...why, act, queue: text('queue'), mode: oneOf('mode', MODES) }
  if (act === 'schedule.run') return { ...why, act, cage: text('cage'), name: text('name') }
  if (act === 'log.level') {
    const of = module === undefined ? undefined : text('module')
    return { ...why, act, cage: text('cage'), module: of, level: oneOf('level', LEVELS), forMs: whole('forMs', LONGEST_LOG_MS) }
  }
  throw invalid(`unknown act ${JSON.stringify(act)}`)
}

function invalid(message: string): CageError {
  return new CageError('INVALID_ARGUMENT', message)
}
