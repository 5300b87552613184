/** `menagerie tx`: transactions under way, those that have ended, and incidents, which people resolve. */
import { userInfo } from 'node:os'
import type { Action } from '../actors/transaction/events.ts'
import type { TxRecord } from '../actors/transaction/history.ts'
import type { Incident } from '../actors/transaction/incidents.ts'
import { CageError } from '../errors.ts'
import { type Command, command } from './command.ts'
import { agree, type Cell, note, print, printFields, printJson, printTable } from './output.ts'
import { BUS_WORDS, withQueues } from './session.ts'
import { plural, readCount, readDuration, readName, readOneOf, readReason, readTime, showDuration, showTime } from './values.ts'
import { flag, operand, option } from './words.ts'

const ls = command({
  name: 'tx ls',
  summary: 'lists the transactions that are under way or left behind, and the incidents',
  notes: 'A transaction of one participant leaves no trace. What has ended is kept for 30 days: --ended.',
  words: {
    cage: option('CAGE', 'of this cage', readName),
    ended: flag('those that have ended, newest last'),
    since: option('TIME', 'ended since: 2h (ago), or 2026-11-24T08:30', (text) => readTime(text, Date.now())),
    limit: option('N', 'at most so many that have ended (default: 50)', readCount),
    ...BUS_WORDS,
  },
  check: ({ ended, since, limit }) => (!ended && (since ?? limit) !== undefined ? ['--since and --limit are for --ended'] : []),
  examples: ['tx ls', 'tx ls --ended --since 1h --json | jq .outcome'],
  run: (values) =>
    withQueues('tx ls', values, async (bus) => {
      const { endedTransactions, incidents, openTransactions } = await admin()
      if (values.ended) {
        const { limit = 50 } = values
        const records: TxRecord[] = []
        for await (const record of endedTransactions(bus, values)) {
          records.push(record)
          if (records.length > limit) records.shift()
        }
        if (values.json) for (const record of records) printJson(record)
        else if (records.length === 0) note('no transaction has ended')
        else
          printTable(
            ['TRANSACTION', 'ENDED', 'BY', 'PARTICIPANTS', 'OUTCOME'],
            records.map(({ id, endedAt, by, cage, participants, outcome }) => [
              ...[id, showTime(endedAt), `${cage}.${by}`, participants.map(({ name }) => name).join(', ')],
              outcomeCell(outcome),
            ]),
          )
        return 0
      }
      const [open, problems] = await Promise.all([openTransactions(bus, values.cage), incidents(bus, values.cage)])
      if (values.json) {
        for (const { cage, view, owned } of open)
          printJson({
            transaction: view.id,
            cage,
            by: view.plan.by,
            since: view.events[0]?.at,
            owned,
            decision: view.decision,
            outcomes: view.outcomes,
          })
        for (const { view: _, ...incident } of problems) printJson({ incident: incident.id, ...incident })
        return 0
      }
      if (open.length === 0) note('no transaction is under way')
      else
        printTable(
          ['TRANSACTION', 'AGE', 'BY', 'PARTICIPANTS', 'STANDS AT', 'COORDINATOR'],
          open.map(({ cage, view, owned }) => [
            ...[view.id, showDuration(Date.now() - (view.events[0]?.at ?? 0)), `${cage}.${view.plan.by}`],
            view.plan.participants.map(({ name }) => name).join(', '),
            view.events.at(-1)?.type ?? '',
            owned ? 'lives' : { text: 'is gone', style: 'yellow' },
          ]),
        )
      if (problems.length > 0) {
        print('')
        printTable(['INCIDENT', 'AGE', 'CAGE', 'PARTICIPANT', 'PROBLEM', 'ERROR'], problems.map(incidentRow))
        note(`${plural(problems.length, 'incident')}: see menagerie tx resolve --help`)
      }
      return 0
    }),
})

const show = command({
  name: 'tx show',
  summary: 'shows a transaction: its participants, what came of each, and when',
  words: { id: operand('ID', (text) => text), ...BUS_WORDS },
  examples: ['tx show hVnW3q8Fw1S0mXQ2a5bC7d-0.1x'],
  run: (values) =>
    withQueues('tx show', values, async (bus) => {
      const { findTransaction } = await admin()
      const record = await findTransaction(bus, values.id.replace(/\/\d+$/, '')) // an incident's id will do
      if (!record) throw new CageError('NOT_FOUND', `nothing is known of transaction ${values.id}`)
      if (values.json) printJson(record)
      else showRecord(record)
      return 0
    }),
})

const resolve = command({
  name: 'tx resolve',
  summary: 'decides what becomes of an incident; any copy of its cage carries it out',
  notes: `retry       tries again
done        takes it for done, and goes on
skip        leaves it as it is, and goes on
compensate  undoes all the other participants
The reason is kept with the incident.`,
  words: {
    incident: operand('INCIDENT', (text) => text),
    action: operand('retry|done|skip|compensate', readOneOf('retry', 'done', 'skip', 'compensate')),
    reason: option('TEXT', 'why; needed', readReason),
    timeout: option('DURATION', 'how long it is waited for (default: 15s)', readDuration),
    yes: flag('does not ask'),
    ...BUS_WORDS,
  },
  examples: ['tx resolve hVnW3q8Fw1S0mXQ2a5bC7d-0.1x/2 retry --reason "the bank is back"'],
  check: ({ reason }) => (reason === undefined ? ['--reason is missing: it is kept with the incident'] : []),
  run: (values) =>
    withQueues('tx resolve', values, async (bus) => {
      const { orderAbout } = await admin()
      const { incident, action, reason = '', timeout = 15_000 } = values
      const answer = action === 'retry' ? undefined : await agree(QUESTIONS[action].replace('it', `incident ${incident}`), values.yes)
      if (answer !== undefined) return answer
      await orderAbout(bus, incident, { action, reason, by: userInfo().username }, Date.now() + timeout)
      if (values.json) printJson({ incident, action, resolved: true })
      else print(`incident ${incident} is resolved`)
      return 0
    }),
})

const QUESTIONS: Readonly<Record<Exclude<Action, 'retry'>, string>> = {
  done: 'Take it for done?',
  skip: 'Leave it as it is?',
  compensate: 'Undo all other participants of it?',
}

/** Loaded when a command needs it. */
function admin(): Promise<typeof import('../actors/transaction/admin.ts')> {
  return import('../actors/transaction/admin.ts')
}

export const TX_COMMANDS: Command[] = [ls, show, resolve]

function incidentRow({ id, at, cage, participant, problem, error }: Incident): Cell[] {
  return [id, showDuration(Date.now() - at), cage, participant, { text: problem, style: 'red' }, `${error.code}: ${error.message}`]
}

function showRecord({ id, cage, by, request, outcome, endedAt, participants, events }: TxRecord): void {
  printFields([
    ['transaction', { text: id, style: 'bold' }],
    ['by', `${cage}.${by}`],
    ['request', request],
    ['outcome', outcomeCell(outcome)],
    ['ended', endedAt === undefined ? undefined : showTime(endedAt)],
  ])
  print('')
  printTable(
    ['', 'PARTICIPANT', 'OUTCOME'],
    participants.map(({ name, outcome: own }, index) => [index, name, own]),
  )
  print('')
  const begin = events[0]?.at ?? 0
  printTable(
    ['AT', 'AFTER', 'EVENT', 'PARTICIPANT', ''],
    events.map(({ type, at, participant = '', note: told = '' }) => [showTime(at), `${at - begin} ms`, type, participant, told]),
  )
}

function outcomeCell(outcome: TxRecord['outcome']): Cell {
  if (outcome === undefined) return { text: 'under way', style: 'yellow' }
  return { text: outcome, style: outcome === 'committed' ? 'green' : outcome === 'incident' ? 'red' : 'yellow' }
}
