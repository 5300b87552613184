/**
 * A mailbox as an interface: each message is a call with the parsed letter, `orders.mailed(letter)` (IMAP or POP3).
 * N1. It is handled at least once, and leaves the mailbox only after its call has succeeded (deliveries.ts).
 * N2. The copies of a cage share the work: a message is claimed by one of them (ledger.ts).
 * N3. A lost server ends the interface, which the cage starts again, with back-off.
 *
 *   orders: { kind: 'email', protocol: 'imap', host: 'mail.shop.test', user: 'orders', password: env('MAIL_PASSWORD'), call: 'orders.mailed' }
 *   export async function mailed(ctx: Context, letter: Letter): Promise<void> { ... }
 *
 * RFC 9051 (IMAP), RFC 1939 (POP3), RFC 5322 and MIME; imap.ts and pop3.ts tell the rest.
 */
import { createHash } from 'node:crypto'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { Deliveries } from './deliveries.ts'
import { openImap } from './imap.ts'
import { Ledger } from './ledger.ts'
import type { EmailListenOptions } from './options.ts'
import { openPop3 } from './pop3.ts'

export async function listen(options: EmailListenOptions, host: InterfaceHost): Promise<Listener> {
  const stopping = new AbortController()
  const { signal } = stopping
  const mailbox = await (options.protocol === 'imap' ? openImap(options, host.name, signal) : openPop3(options, host.name, signal))
  const ledger = new Ledger(host.memory, keyOf(mailbox.address, options.user ?? ''))
  const done = new Deliveries(mailbox, ledger, options, host).run(signal).finally(() => mailbox.close())
  done.catch(() => {}) // the cage's, by `done`
  return {
    address: mailbox.address,
    done,
    async stop() {
      stopping.abort()
      await done.catch((error: unknown) => host.log.debug({ err: error }, 'the mailbox was lost while it was left'))
    },
  }
}

/** A key of the memory is short: one for each mailbox that this interface was ever configured with. */
function keyOf(address: string, user: string): string {
  return createHash('sha256').update(`${user} ${address}`).digest('hex').slice(0, 32)
}
