/** `menagerie saga`: sagas, seen, signalled and set right. */
import { userInfo } from 'node:os'
import type { Action } from '../actors/saga/events.ts'
import type { SagaDetails, SagaInfo } from '../actors/saga/listing.ts'
import { type Command, command } from './command.ts'
import { agree, type Cell, note, print, printFields, printJson, printTable } from './output.ts'
import { BUS_WORDS, withQueues } from './session.ts'
import { readJson, readName, readOneOf, readReason, readTime, showDuration, showTime } from './values.ts'
import { flag, operand, option, optional } from './words.ts'

const ID = operand('ID', (text) => text)

const ls = command({
  name: 'saga ls',
  summary: 'lists sagas: those that go on, and incidents',
  words: {
    cage: option('CAGE', 'only of this cage', readName),
    incidents: flag('only those that need people'),
    ended: flag('those that have ended, instead'),
    since: option('TIME', 'with --ended: ended since (default: 24h)', (text) => readTime(text, Date.now())),
    ...BUS_WORDS,
  },
  examples: ['saga ls', 'saga ls --incidents --json | jq -r .id', 'saga ls --ended --since 2h'],
  check: ({ since, ended, incidents }) => [
    ...(since !== undefined && !ended ? ['--since needs --ended'] : []),
    ...(ended && incidents ? ['--ended, or --incidents: not both'] : []),
  ],
  run: (values) =>
    withQueues('saga ls', values, async (bus) => {
      const { openSagas, endedSagas } = await import('../actors/saga/listing.ts')
      const { cage, incidents, ended, since = Date.now() - 86_400_000, json } = values
      const found: SagaInfo[] = []
      if (ended) for await (const saga of endedSagas(bus, cage, since)) found.push(saga)
      else found.push(...(await openSagas(bus, cage)).filter(({ state }) => !incidents || state === 'incident'))
      if (json) for (const saga of found) printJson(saga)
      else if (found.length === 0) note(ended ? 'no saga has ended since' : incidents ? 'there are no incidents' : 'no saga goes on')
      else
        printTable(
          ['SAGA', 'METHOD', 'STATE', 'AT', 'AGE', 'CHANGED', 'ERROR'],
          found.map((saga) => [
            ...[saga.id, `${saga.cage}.${saga.method}`, stateCell(saga), saga.at ?? '-'],
            ...[showDuration(Date.now() - saga.begunAt), `${showDuration(Date.now() - saga.changedAt)} ago`],
            saga.error === undefined ? '-' : { text: `${saga.error.code}: ${saga.error.message}`, style: 'red' },
          ]),
        )
      return 0
    }),
})

const show = command({
  name: 'saga show',
  summary: 'shows a saga with all that happened in it',
  words: { id: ID, ...BUS_WORDS },
  examples: ['saga show order-1', 'saga show order-1 --json | jq .events'],
  run: (values) =>
    withQueues('saga show', values, async (bus) => {
      const { sagaDetails } = await import('../actors/saga/listing.ts')
      const saga = await sagaDetails(bus, values.id)
      if (values.json) printJson(saga)
      else showSaga(saga)
      return 0
    }),
})

const signal = command({
  name: 'saga signal',
  summary: 'sends a signal to a saga, which waits for it or will',
  notes: 'The first signal of a name counts.',
  words: { id: ID, name: operand('NAME', (text) => text), value: optional('JSON', readJson), ...BUS_WORDS },
  examples: ['saga signal order-1 approved', `saga signal order-1 approved '{"by":"ann"}'`],
  run: (values) =>
    withQueues('saga signal', values, async (bus) => {
      const { signal: send } = await import('../actors/saga/signals.ts')
      const { id, name, value, json } = values
      const isFirst = await send(bus, id, name, value, Date.now() + 10_000)
      if (json) printJson({ id, signal: name, first: isFirst })
      else print(isFirst ? `saga ${id} has the signal ${name}` : `saga ${id} had a signal ${name} before, which counts`)
      return isFirst ? 0 : 1
    }),
})

const resolve = command({
  name: 'saga resolve',
  summary: 'decides what becomes of a saga that is an incident',
  notes: `retry       tries the compensation that failed again, then goes on
skip        leaves that step as it is, and goes on
done        the same, for a step that was undone by hand; if no step is to blame, the whole saga was set right
compensate  undoes what was done; also a saga that goes on: its call is cancelled
The reason is kept with the saga.`,
  words: {
    id: ID,
    action: operand('retry|skip|done|compensate', readOneOf('retry', 'skip', 'done', 'compensate')),
    reason: option('TEXT', 'why; needed', readReason),
    yes: flag('does not ask'),
    ...BUS_WORDS,
  },
  examples: ['saga resolve order-1 retry --reason "the bank is back"', 'saga resolve order-1 done --reason "paid back in cash" --yes'],
  check: ({ reason }) => (reason === undefined ? ['--reason is missing: it is kept with the saga'] : []),
  run: (values) =>
    withQueues('saga resolve', values, async (bus) => {
      const { sagaDetails } = await import('../actors/saga/listing.ts')
      const { resolve: carryOut } = await import('../actors/saga/orders.ts')
      const { id, action, reason = '', json } = values
      const saga = await sagaDetails(bus, id)
      const answer = action === 'retry' ? undefined : await agree(questionOf(action, saga), values.yes)
      if (answer !== undefined) return answer
      const call = await carryOut(bus, saga.cage, id, { action, reason, by: userInfo().username })
      if (json) printJson({ id, action, call })
      else print(call === undefined ? `saga ${id} has ended` : `saga ${id} goes on as call ${call}`)
      return 0
    }),
})

export const SAGA_COMMANDS: Command[] = [ls, show, signal, resolve]

function questionOf(action: Action, { id, at }: SagaDetails): string {
  if (action === 'compensate') return `undo all that saga ${id} has done?`
  const step = at === undefined ? '' : ` step ${at} of`
  return action === 'skip' ? `leave${step} saga ${id} as it is, for good?` : `hold${step} saga ${id} for set right by hand?`
}

function showSaga({ id, cage, method, version, state, at, begunAt, changedAt, error, timeline }: SagaDetails): void {
  printFields([
    ['saga', { text: id, style: 'bold' }],
    ['state', stateCell({ state })],
    ['at', at],
    ['method', `${cage}.${method}`],
    ['version', version],
    ['begun', showTime(begunAt)],
    ['changed', showTime(changedAt)],
    ['error', error && { text: `${error.code}: ${error.message}`, style: 'red' }],
  ])
  print('')
  printTable(
    ['AT', 'AFTER', 'WHAT', 'STEP', 'NOTE'],
    timeline.map(({ at: time, what, step, note: text }) => [
      showTime(time),
      showDuration(time - begunAt),
      /fail|incident|timed out/.test(what) ? { text: what, style: 'red' } : what,
      step ?? '',
      text ?? '',
    ]),
  )
}

function stateCell({ state }: Pick<SagaInfo, 'state'>): Cell {
  if (state === 'incident') return { text: state, style: 'red' }
  return state === 'done' ? { text: state, style: 'green' } : state === 'running' ? state : { text: state, style: 'yellow' }
}
