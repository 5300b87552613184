/**
 * Binding to a server, as an ESME: what resource and interface have in common.
 * N1. It resolves with a session that is bound, or leaves nothing behind.
 *
 * SMPP 3.4, 4.1 (bind), 2.2 (session states).
 */
import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectSecure } from 'node:tls'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { fromStatus, lost, statusOf } from './errors.ts'
import type { EsmeOptions } from './options.ts'
import { Session, type SessionSource } from './session.ts'

const INTERFACE_VERSION = 0x34
/** A temporary error of the receiver: the server keeps what it wanted to deliver. */
const LATER = { full: statusOf('RX_T_APPN'), closing: statusOf('RX_T_APPN') }

export interface BindSource {
  readonly name: string
  readonly log: Log
  readonly options: EsmeOptions
  readonly serve: SessionSource['serve']
}

/** UNAVAILABLE, UNAUTHENTICATED, what has ended the scope. */
export async function bind({ name, log, options, serve }: BindSource, scope: Scope): Promise<Session> {
  const socket = await connect(options, name, scope)
  const { systemId, password, systemType, addressRange, bindAs } = options
  const command = `bind_${bindAs}`
  const limits = { ...options, peerWindow: options.concurrency }
  const session = new Session({ name, socket, limits, log, later: LATER, serve })
  try {
    const address = { addr_ton: addressRange.ton, addr_npi: addressRange.npi, address_range: addressRange.pattern }
    const fields = { system_id: systemId, password, system_type: systemType, interface_version: INTERFACE_VERSION, ...address }
    const { status } = await session.request(command, fields, scope)
    if (status !== 0) throw fromStatus(status, name, command)
    return session
  } catch (error) {
    session.destroy()
    throw silent(error, name)
  }
}

async function connect({ host, port, tls }: EsmeOptions, name: string, scope: Scope): Promise<Socket> {
  const to = { host, port, keepAlive: true, keepAliveInitialDelay: 10_000 }
  const secure = tls && { ...(isIP(host) ? {} : { servername: host }), ...tlsOptions(tls, name) }
  const socket = secure ? connectSecure({ ...to, ...secure }) : connectPlain(to)
  socket.on('error', () => {}) // whoever waits for it is told below; never is it nobody's
  try {
    await new Promise<void>((resolve, reject) => {
      const off = whenEnded(scope, name, reject)
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        off()
        resolve()
      })
      socket.once('error', (error) => {
        off()
        reject(lost(name, error))
      })
      socket.once('close', () => {
        off()
        reject(lost(name, undefined))
      })
    })
    return socket
  } catch (error) {
    socket.destroy()
    throw silent(error, name)
  }
}

/** That nothing was heard in time says something of the server, not of who waited. */
function silent(error: unknown, name: string): unknown {
  if (!(error instanceof CageError) || error.code !== 'DEADLINE_EXCEEDED') return error
  return new CageError('UNAVAILABLE', `${name}: the server does not answer`)
}
