/** A mailbox at a test's server, and copies of the interface that read it. */
import type { TestContext } from 'node:test'
import type { InterfaceCallOptions, InterfaceHost, InterfaceQueueOptions, Listener } from '../../src/adapters/adapter.ts'
import type { Letter } from '../../src/adapters/email/api.ts'
import { listen } from '../../src/adapters/email/listener.ts'
import { emailListenOptions } from '../../src/adapters/email/options.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { type DovecotServer, PASSWORD } from './dovecot.ts'

type Options = InterfaceCallOptions & InterfaceQueueOptions

export interface Called {
  target: string
  letter: Letter
  options: Options
  queue?: string
}

/** A mailbox of its own, and the interface that reads it. */
export interface MailboxBench {
  user: string
  calls: Called[]
  said: Said[]
  /** What the interface remembers. */
  book(): Record<string, { is: string }>
  remember(key: string, value: unknown): void
  deliver(subject: string, body?: string | Buffer, more?: string): void
  left(folder?: string): string[]
  /** Starts a copy of the interface. */
  start(more?: object): Promise<Listener>
}

let users = 0

/** `answer` is what each call does. */
export function openMailbox(
  t: TestContext,
  server: DovecotServer,
  protocol: 'imap' | 'pop3',
  answer: (called: Called) => Promise<unknown> = async () => {},
): MailboxBench {
  const { log, said } = recordingLog()
  const calls: Called[] = []
  const user = `user${++users}`
  const take = (called: Called): Promise<unknown> => {
    calls.push(called)
    return answer(called)
  }
  const memory = new Map<string, unknown>()
  let requests = 0
  const host = {
    ...{ cage: 'shop', name: 'orders', log, timeoutMs: 10_000, dataDir: '', newRequestId: () => `r${++requests}`, cancel: () => {} },
    call: (target: string, [letter]: Letter[], options: Options) => take({ target, letter: letter as Letter, options }),
    enqueue: async (queue: string, target: string, [letter]: Letter[], options: Options) => {
      await take({ target, letter: letter as Letter, options, queue })
      return options.id
    },
    memory: {
      get: async (key: string) => memory.get(key),
      update: async (key: string, change: (current: unknown) => unknown) => {
        change(structuredClone(memory.get(key))) // compare-and-set may ask twice
        await new Promise(setImmediate)
        const value = change(structuredClone(memory.get(key)))
        if (value === undefined) memory.delete(key)
        else memory.set(key, structuredClone(value))
        return value
      },
    },
  } as unknown as InterfaceHost // it exposes nothing
  server.create(user)
  return {
    user,
    calls,
    said,
    book: () => Object.assign({}, ...memory.values()) as Record<string, { is: string }>,
    remember: (key, value) => {
      for (const [name, book] of memory) memory.set(name, { ...(book as object), [key]: value })
    },
    deliver(subject, body = 'hello', more = '') {
      const head = `From: Ann <ann@x.test>\r\nTo: shop@x.test\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@x.test>\r\n${more}`
      server.deliver(user, Buffer.concat([Buffer.from(`${head}\r\n`), Buffer.from(body)]))
    },
    left: (folder) => server.messages(user, folder).flatMap(({ raw }) => /^Subject: (.*?)\r?$/m.exec(raw.toString('latin1'))?.[1] ?? []),
    async start(more = {}) {
      const options = emailListenOptions.parse({
        ...{ protocol, host: '127.0.0.1', port: server.ports[protocol], user, password: PASSWORD, call: 'orders.mailed' },
        ...{ pollMs: 100, retryMs: 10, answerMs: 5_000 },
        ...more,
      })
      const listener = await listen(options, host)
      listener.done.catch(() => {}) // tests that are about it look
      atEnd(t, () => listener.stop())
      return listener
    },
  }
}

/** Of the calls, in their order. */
export const subjects = ({ calls }: MailboxBench): string[] => calls.map(({ letter }) => letter.subject)
/** What the log says. */
export const told = ({ said }: MailboxBench, message: RegExp): Said[] => said.filter((each) => message.test(each.message))
