/** `menagerie queue status`, `cancel` and `hasten`: one queued call, by its id. */
import type { CallStatus } from '../bus/queue/contract.ts'
import { CageError } from '../errors.ts'
import { toJson } from '../json.ts'
import { type Command, command } from './command.ts'
import { print, printFields, printJson, printTable } from './output.ts'
import { BUS_WORDS, withQueues } from './session.ts'
import { showTime } from './values.ts'
import { operand } from './words.ts'

const ID = operand('ID', (text) => text)

const status = command({
  name: 'queue status',
  summary: 'tells where a call stands, and what came of it',
  notes: 'Of a call that was given no id nothing is known once it is done.',
  words: { id: ID, ...BUS_WORDS },
  examples: ['queue status order-42', 'queue status retry:17 --json'],
  run: (values) =>
    withQueues('queue status', values, async ({ queues }) => {
      const call = await queues.status(values.id)
      if (!call) throw unknown(values.id)
      if (values.json) printJson(call)
      else showCall(call)
      return 0
    }),
})

const cancel = command({
  name: 'queue cancel',
  summary: 'keeps a call from running, or tells one that runs to end',
  notes: 'A method that runs is told by ctx.signal; if it ends in an error, it is not tried again.',
  words: { id: ID, ...BUS_WORDS },
  examples: ['queue cancel order-42'],
  run: (values) =>
    withQueues('queue cancel', values, async ({ queues }) => {
      if (!(await queues.cancel(values.id))) {
        const call = await queues.status(values.id)
        throw call ? new CageError('CONFLICT', `call ${values.id} is ${call.state}, there is nothing to cancel`) : unknown(values.id)
      }
      const state = (await queues.status(values.id))?.state
      if (values.json) printJson({ id: values.id, state })
      else print(state === 'running' ? `call ${values.id} runs, its signal has fired` : `call ${values.id} is cancelled`)
      return 0
    }),
})

const hasten = command({
  name: 'queue hasten',
  summary: 'brings a delayed call forward: it is run as soon as its turn comes',
  words: { id: ID, ...BUS_WORDS },
  examples: ['queue hasten order-42'],
  run: (values) =>
    withQueues('queue hasten', values, async ({ queues }) => {
      const { id, json } = values
      if (!(await queues.hasten(id))) {
        const call = await queues.status(id)
        throw call ? new CageError('CONFLICT', `call ${id} is ${call.state}, not delayed`) : unknown(id)
      }
      if (json) printJson({ id, hastened: true })
      else print(`call ${id} is brought forward`)
      return 0
    }),
})

export const STATUS_COMMANDS: Command[] = [status, cancel, hasten]

function showCall(call: CallStatus): void {
  const { id, queue, target, state, attempts, crashes, enqueuedAt, changedAt, dueAt, expiresAt, error, failures = [] } = call
  printFields([
    ['call', { text: id, style: 'bold' }],
    ['state', { text: state, style: state === 'dead' ? 'red' : state === 'done' ? 'green' : 'yellow' }],
    ['queue', queue],
    ['method', target],
    ['enqueued', showTime(enqueuedAt)],
    ['changed', showTime(changedAt)],
    ['due', state === 'delayed' ? showTime(dueAt) : undefined],
    ['expires', expiresAt === undefined ? undefined : showTime(expiresAt)],
    ['attempts', attempts > 0 ? `${attempts} failed` : undefined],
    ['crashes', crashes > 0 ? crashes : undefined],
    ['error', error && { text: `${error.code}: ${error.message}`, style: 'red' }],
    ['result', call.resultOmitted ? 'not kept: it is too large' : state === 'done' ? toJson(call.result) : undefined],
  ])
  showFailures(failures)
}

/** The latest failures of a call. */
export function showFailures(failures: NonNullable<CallStatus['failures']>): void {
  if (failures.length === 0) return
  print('')
  printTable(
    ['ATTEMPT', 'AT', 'ERROR'],
    failures.map(({ attempt, at, code, message }) => [attempt, showTime(at), `${code}: ${message}`]),
  )
}

function unknown(id: string): CageError {
  return new CageError('NOT_FOUND', `nothing is known of call ${id}: it never was, is long done, or was given no id and is done`)
}
