/**
 * A mailbox over POP3: each visit is a session of its own, so that nobody else is kept out of the mailbox while messages are handled.
 * O1. Messages are deleted by a visit after the one that fetched them: what a session deletes counts once the server has answered QUIT.
 * O2. A message that is set aside stays where it is: POP3 can neither mark nor move. The ledger knows it.
 */
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { Scope } from '../adapter.ts'
import type { Mailbox, Visit } from './mailbox.ts'
import type { Pop3Options } from './options.ts'
import { Pop3Client } from './pop3-client.ts'

/** The server is there and lets us in, or it rejects: UNAVAILABLE, UNAUTHENTICATED. */
export async function openPop3(options: Pop3Options, name: string, signal: AbortSignal): Promise<Mailbox> {
  const { host, port, answerMs, maxMessageBytes } = options
  const within = (ms: number = answerMs): Scope => ({ deadline: Date.now() + ms, signal: new AbortController().signal })
  const first = await Pop3Client.open(options, name, { deadline: Date.now() + answerMs, signal })
  await first.quit(within())
  return {
    address: `pop3://${host}:${port}`,
    async visit(work) {
      const client = await Pop3Client.open(options, name, within())
      try {
        await work(visitOf(client))
        await client.quit(within())
      } finally {
        client.destroy()
      }
    },
    rest: (ms, wake) => pause(ms, wake),
    async close() {},
  }

  function visitOf(client: Pop3Client): Visit {
    let numbers = new Map<string, number>()
    const numberOf = (id: string): number => {
      const number = numbers.get(id)
      if (number === undefined) throw new CageError('NOT_FOUND', `${name}: the message is gone`)
      return number
    }
    return {
      get ended() {
        return client.ended
      },
      async list() {
        const ids = await client.uidl(within())
        numbers = new Map([...ids].map(([number, id]) => [id, number]))
        return [...numbers.keys()]
      },
      async fetch(id) {
        const size = await client.size(numberOf(id), within())
        if (size > maxMessageBytes)
          throw new CageError('PAYLOAD_TOO_LARGE', `${name}: the message of ${size} bytes is larger than ${maxMessageBytes}`)
        return await client.retr(numberOf(id), maxMessageBytes, within(10 * answerMs))
      },
      async dispose(id, how) {
        if (how === 'done') await client.dele(numberOf(id), within()) // O1
        return true
      },
    }
  }
}
