/** `menagerie notify`: what cages want people to know. */
import type { Kept, Notification, NotificationLevel } from '../bus/bus.ts'
import { type Command, command } from './command.ts'
import { type Cell, note, plain, print, printJson, printTable } from './output.ts'
import { BUS_WORDS, withQueues } from './session.ts'
import { readCount, readName, readOneOf, readTime, showTime } from './values.ts'
import { option } from './words.ts'

const FILTERS = {
  level: option('LEVEL', 'this one and those above: info, warn, error, alert', readOneOf('info', 'warn', 'error', 'alert')),
  cage: option('CAGE', 'only of this cage', readName),
}

const ls = command({
  name: 'notify ls',
  summary: 'lists what cages want people to know, oldest first; the last 10,000 are kept',
  words: {
    ...FILTERS,
    since: option('TIME', 'since: 2h (ago), or 2026-11-24T08:30 (default: 24h)', (text) => readTime(text, Date.now())),
    limit: option('N', 'the newest so many (default: 50)', readCount),
    ...BUS_WORDS,
  },
  examples: ['notify ls --level error --since 2h', 'notify ls --json | jq .details'],
  run: (values) =>
    withQueues('notify ls', values, async ({ notifications }) => {
      const { since = Date.now() - 86_400_000, level, cage, limit = 50, json } = values
      const found: Kept[] = []
      let older = 0
      for await (const kept of notifications.list({ since, level, cage })) {
        found.push(kept)
        if (found.length > limit) older += found.splice(0, found.length - limit).length
      }
      if (json) for (const kept of found) printJson(kept)
      else if (found.length === 0) note('there are no notifications')
      else printTable(['AT', 'LEVEL', 'FROM', 'MESSAGE', 'DETAILS'], found.map(rowOf))
      if (older > 0) note(`and ${older} before these; --limit shows more`)
      return 0
    }),
})

const tail = command({
  name: 'notify tail',
  summary: 'shows notifications as they come, until it is interrupted',
  words: { ...FILTERS, ...BUS_WORDS },
  examples: ['notify tail --level warn'],
  run: (values) =>
    withQueues('notify tail', values, async (bus) => {
      const show = (sent: Notification): void =>
        values.json
          ? printJson(sent)
          : print(
              rowOf(sent)
                .map((cell) => plain(String(typeof cell === 'object' ? cell.text : cell)))
                .join('  '),
            )
      const stop = await bus.notifications.follow(values, show)
      note('waiting for notifications')
      const interrupted = new Promise<void>((resolve) => {
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
      })
      await Promise.race([interrupted, bus.done])
      stop()
      return 0
    }),
})

export const NOTIFY_COMMANDS: Command[] = [ls, tail]

const STYLES: Readonly<Record<NotificationLevel, 'red' | 'yellow' | undefined>> = {
  info: undefined,
  warn: 'yellow',
  error: 'red',
  alert: 'red',
}

function rowOf({ at, level, cage, module, message, details }: Notification): Cell[] {
  const style = STYLES[level]
  const from = module === undefined ? cage : `${cage}.${module}`
  return [
    showTime(at),
    style === undefined ? level : { text: level, style },
    from,
    message,
    details === undefined ? '' : JSON.stringify(details),
  ]
}
