/** A short message service centre of the package `smpp`, in this process: a peer of our own SMPP that shares only tables with it. */
import { once } from 'node:events'
import type { Server, Socket } from 'node:net'
import * as smpp from 'smpp'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'

/** A PDU as that package has it. */
export interface ForeignPdu {
  command: string
  command_status: number
  sequence_number: number
  response(fields?: object): ForeignPdu
  [field: string]: unknown
}

/** A session as that package has it. */
export interface ForeignSession {
  readonly socket: Socket
  on(event: string, listener: (pdu: ForeignPdu) => void): void
  send(pdu: ForeignPdu): void
  pause(): void
  resume(): void
  deliver_sm(fields: object, answered: (answer: ForeignPdu) => void): void
  submit_sm(fields: object, answered: (answer: ForeignPdu) => void): void
  bind_transceiver(fields: object, answered: (answer: ForeignPdu) => void): void
  enquire_link(answered: (answer: ForeignPdu) => void): void
  unbind(answered: (answer: ForeignPdu) => void): void
  close(): void
  destroy(): void
}

/** What we use of the package: src/adapters/smpp/smpp.d.ts has its tables only. */
export interface ForeignSmpp {
  createServer(options: object, listener: (session: ForeignSession) => void): Server
  connect(options: object, listener?: () => void): ForeignSession
}

export const foreign: ForeignSmpp = (smpp as unknown as { default: ForeignSmpp }).default

export interface Smsc {
  readonly port: number
  /** What was submitted, in order. */
  readonly submitted: ForeignPdu[]
  /** Everything else that came, but enquire_link. */
  readonly asked: ForeignPdu[]
  /** Sessions that are bound. */
  readonly sessions: Set<ForeignSession>
  /** Submitted to `slow` and not answered. */
  readonly slow: { session: ForeignSession; pdu: ForeignPdu }[]
  /** Statuses for what is submitted next, then 0. */
  readonly statuses: number[]
  stop(): Promise<void>
  start(): Promise<void>
  /** It takes connections and bytes, and says nothing. */
  freeze(): void
  thaw(): void
}

/** Users are bound with the password `secret`. What is submitted to the address `slow` is never answered. */
export async function startSmsc(owner: Owner, options: object = {}): Promise<Smsc> {
  const port = await freePort()
  const all = new Set<ForeignSession>()
  let server: Server | undefined
  let frozen = false
  let ids = 0
  const smsc: Smsc = {
    ...{ port, submitted: [], asked: [], sessions: new Set(), slow: [], statuses: [] },
    async start() {
      if (server) return
      server = foreign.createServer(options, accept).listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
    async stop() {
      const stopping = server
      server = undefined
      for (const session of all) session.destroy()
      if (!stopping) return
      stopping.close()
      await once(stopping, 'close')
    },
    freeze() {
      frozen = true
      for (const session of all) session.pause()
    },
    thaw() {
      frozen = false
      for (const session of all) session.resume()
    },
  }
  atEnd(owner, () => smsc.stop())
  await smsc.start()
  return smsc

  function accept(session: ForeignSession): void {
    all.add(session)
    if (frozen) session.pause()
    session.on('error', () => {}) // a test cuts it off
    session.on('close', () => {
      all.delete(session)
      smsc.sessions.delete(session)
      for (const each of smsc.slow.filter((waiting) => waiting.session === session)) smsc.slow.splice(smsc.slow.indexOf(each), 1)
    })
    session.on('pdu', (pdu) => answer(session, pdu))
  }

  function answer(session: ForeignSession, pdu: ForeignPdu): void {
    if (pdu.command.endsWith('_resp') || pdu.command === 'generic_nack') return
    if (pdu.command.startsWith('bind_')) {
      const refused = pdu.password === 'secret' ? 0 : 0x0e
      if (refused === 0) smsc.sessions.add(session)
      return session.send(pdu.response({ command_status: refused, system_id: 'smsc' }))
    }
    if (pdu.command === 'submit_sm') {
      smsc.submitted.push(pdu)
      if (pdu.destination_addr === 'slow') return void smsc.slow.push({ session, pdu })
      return session.send(pdu.response({ command_status: smsc.statuses.shift() ?? 0, message_id: `id${++ids}` }))
    }
    if (pdu.command !== 'enquire_link') smsc.asked.push(pdu)
    session.send(
      pdu.response(pdu.command === 'query_sm' ? { message_id: pdu.message_id, message_state: 2, final_date: '261124050000000+' } : {}),
    )
    if (pdu.command === 'unbind') session.close()
  }
}
