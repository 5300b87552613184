/** `menagerie dead`: calls that will not be tried again, found, retried and dropped. */
import type { DeadFilter, DeadLetter, QueueAdmin } from '../bus/queue/contract.ts'
import { CageError } from '../errors.ts'
import { toJson } from '../json.ts'
import { forEach } from './bulk.ts'
import { type Command, command } from './command.ts'
import { agree, note, Progress, print, printFields, printJson, printTable } from './output.ts'
import { BUS_WORDS, withQueues } from './session.ts'
import { showFailures } from './status.ts'
import { plural, readArguments, readCount, readName, readPositive, readPrefix, readTime, showDuration, showTime } from './values.ts'
import { flag, operand, operands, option, type Values } from './words.ts'

const FILTERS = {
  queue: option('NAME', 'of this queue', readName),
  target: option('CAGE[.MODULE[.METHOD]]', 'of this cage, module or method', readPrefix),
  error: option('TEXT', 'with this in the code or message of their error'),
  since: option('TIME', 'died since: 2h (ago), or 2026-11-24T08:30', (text) => readTime(text, Date.now())),
  until: option('TIME', 'died until', (text) => readTime(text, Date.now())),
}

const CHOICE = { seqs: operands('SEQ...', readCount), all: flag('all dead letters that the filters match'), ...FILTERS }

const ls = command({
  name: 'dead ls',
  summary: 'lists dead letters, oldest first',
  words: { ...FILTERS, limit: option('N', 'at most so many (default: 50)', readCount), ...BUS_WORDS },
  examples: ['dead ls --target mail.sender --error timeout --since 2h', 'dead ls --json --limit 1000 | jq .args'],
  run: (values) =>
    withQueues('dead ls', values, async ({ queues }) => {
      const { limit = 50 } = values
      const letters: DeadLetter[] = []
      let more = false
      for await (const letter of queues.dead(filterIn(values))) {
        more = letters.length === limit
        if (more) break
        letters.push(letter)
      }
      if (values.json) for (const letter of letters) printJson(shown(letter))
      else if (letters.length === 0) note('there are no such dead letters')
      else
        printTable(
          ['SEQ', 'AGE', 'QUEUE', 'METHOD', 'CALL', 'TRIES', 'ERROR'],
          letters.map(({ seq, diedAt, queue, target, id, attempts, code, message }) => [
            ...[seq, showDuration(Date.now() - diedAt), queue, target, id, attempts],
            { text: `${code}: ${message}`, style: 'red' },
          ]),
        )
      if (more) note(`the oldest ${limit}${await total(queues, values)}; --limit shows more`)
      return 0
    }),
})

const show = command({
  name: 'dead show',
  summary: 'shows a dead letter: its arguments, its error, its failures',
  words: { seq: operand('SEQ', readCount), ...BUS_WORDS },
  examples: ['dead show 17', 'dead show 17 --json | jq .args'],
  run: (values) =>
    withQueues('dead show', values, async ({ queues }) => {
      const letter = await queues.deadLetter(values.seq)
      if (values.json) printJson(shown(letter))
      else showLetter(letter)
      return 0
    }),
})

const retry = command({
  name: 'dead retry',
  summary: 'puts dead calls into their queues again, with their ids',
  notes: 'They begin with no attempts, and expire as if they were new. Name them by numbers, or all that match with --all.',
  words: {
    ...CHOICE,
    args: option('JSON', 'with these arguments instead (one number only)', readArguments),
    rate: option('PER_SECOND', 'so many a second', readPositive),
    ...BUS_WORDS,
  },
  examples: [`dead retry 17 --args '["you@example.org"]'`, 'dead retry --all --queue retry --error UNAVAILABLE --since 2h --rate 10'],
  check: (values) => [...checkChoice(values), ...(values.args && values.seqs?.length !== 1 ? ['--args needs exactly one SEQ'] : [])],
  run: (values) =>
    withQueues('dead retry', values, async ({ queues }) => {
      const seqs = await chosen(queues, values)
      const { args, rate, json } = values
      return forEach(seqs, { verb: 'retried', noun: 'dead call', rate, json }, async (seq) => ({ id: await queues.retry(seq, args) }))
    }),
})

const drop = command({
  name: 'dead drop',
  summary: 'deletes dead letters for good',
  words: { ...CHOICE, yes: flag('does not ask'), ...BUS_WORDS },
  examples: ['dead drop 17 18', 'dead drop --all --queue retry --until 7d --yes'],
  check: (values) => checkChoice(values),
  run: (values) =>
    withQueues('dead drop', values, async ({ queues }) => {
      const seqs = await chosen(queues, values)
      if (seqs.length > 0) {
        const answer = await agree(`drop ${plural(seqs.length, 'dead letter')} for good?`, values.yes)
        if (answer !== undefined) return answer
      }
      return forEach(seqs, { verb: 'dropped', noun: 'dead letter', json: values.json }, async (seq) => {
        if (!(await queues.drop(seq))) throw new CageError('NOT_FOUND', 'there is no such dead letter')
        return { dropped: true }
      })
    }),
})

export const DEAD_COMMANDS: Command[] = [ls, show, retry, drop]

function filterIn({ queue, target, error, since, until }: Values<typeof FILTERS>): DeadFilter {
  return { queue, target, error, since, until }
}

function checkChoice(values: Partial<Values<typeof CHOICE>>): string[] {
  const { seqs, all } = values
  if (!seqs) return [] // they were named, and wrong
  const filters = (Object.keys(FILTERS) as (keyof typeof FILTERS)[]).filter((name) => values[name] !== undefined)
  if (seqs.length > 0 && (all || filters.length > 0)) return ['numbers, or --all with filters: not both']
  if (seqs.length === 0 && !all)
    return filters.length > 0
      ? ['filters choose only with --all']
      : ['no dead letter is named: SEQ... (dead ls shows them), or --all with filters']
  return []
}

/** The numbers of what was chosen, oldest first. */
async function chosen(queues: QueueAdmin, values: Values<typeof CHOICE>): Promise<number[]> {
  if (!values.all) return [...new Set(values.seqs)]
  const seqs: number[] = []
  const progress = new Progress()
  for await (const { seq } of queues.dead(filterIn(values))) {
    seqs.push(seq)
    progress.update(`${plural(seqs.length, 'dead letter')} found`)
  }
  progress.end()
  return seqs
}

/** ` of 1,204`: known without reading them only if they need not be read to be chosen. */
async function total(queues: QueueAdmin, { queue, target, error, since, until }: Values<typeof FILTERS>): Promise<string> {
  if (error !== undefined || since !== undefined || until !== undefined) return ', and there are more'
  return ` of ${(await queues.countDead({ queue, target })).toLocaleString('en')}`
}

/** Bytes only where they say more than the arguments. */
function shown({ payload, ...letter }: DeadLetter): object {
  return letter.args === undefined ? { ...letter, payload } : letter
}

function showLetter({ seq, id, queue, target, diedAt, enqueuedAt, code, message, attempts, failures, args, payload }: DeadLetter): void {
  printFields([
    ['dead letter', { text: String(seq), style: 'bold' }],
    ['call', id],
    ['queue', queue],
    ['method', target],
    ['enqueued', enqueuedAt === undefined ? undefined : showTime(enqueuedAt)],
    ['died', showTime(diedAt)],
    ['error', { text: `${code}: ${message}`, style: 'red' }],
    ['attempts', attempts],
  ])
  showFailures(failures)
  print(
    args === undefined
      ? `\npayload, base64 (it cannot be read):\n${toJson(payload)}`
      : `\narguments:\n${JSON.stringify(JSON.parse(toJson(args)), null, 2)}`,
  )
}
