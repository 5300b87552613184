/**
 * What reading mail needs of a protocol: imap.ts and pop3.ts.
 * B1. Whatever rejects does so with a CageError. PAYLOAD_TOO_LARGE, NOT_FOUND: it is that message's; anything else: the visit has failed.
 * B2. Every step has a limit: nothing hangs with the server.
 */

/** A mailbox, as long as its server is there. */
export interface Mailbox {
  /** For the log: `imap://mail.shop.test:993/INBOX`. */
  readonly address: string
  /** One visit at a time. What it disposes of is certain when it has ended. */
  visit(work: (visit: Visit) => Promise<void>): Promise<void>
  /** Resolves when there may be something new, after `ms`, or when the signal fires. Rejects if the server is lost. */
  rest(ms: number, signal: AbortSignal): Promise<void>
  /** Twice is once. */
  close(): Promise<void>
}

export interface Visit {
  /** The server is lost: every further step would reject. */
  readonly ended: boolean
  /** Names of the messages that wait; a name is never given to another message. */
  list(): Promise<string[]>
  fetch(name: string): Promise<Buffer>
  /** False: the server has not done it, others can still be had. */
  dispose(name: string, how: 'done' | 'aside'): Promise<boolean>
}
