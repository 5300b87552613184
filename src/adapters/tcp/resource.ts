/**
 * TCP as a resource, with TLS if it is configured: messages, and requests with one answer each.
 *
 *   resources: { scale: { kind: 'tcp', host: 'scale.plant.example', port: 4001, lineEnding: '\r\n' } },
 *   const weight = await ctx.resources.scale.request('W?')
 *
 * R1. Nothing is ever sent twice: of a request that failed after it was sent nobody knows whether it was done.
 * R2. A raw message ends with its half of the connection, so each has a connection of its own.
 * RFC 9293 (half-closed connections: 3.6), RFC 8446.
 */
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { endOf } from '../../scope.ts'
import type { Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { Connection } from './connection.ts'
import { bytesOf, messageOf } from './message.ts'
import type { TcpOptions } from './options.ts'

const METHODS = ['send', 'request']

export async function open(options: TcpOptions, { name }: ResourceHost): Promise<Resource> {
  const connect = (scope: Scope): Promise<Connection> => Connection.open(options, name, secure(options, name), scope)
  return {
    connect: async (scope) =>
      new TcpResourceConnection(options, name, connect, options.framing === 'raw' ? undefined : await connect(scope)),
  }
}

class TcpResourceConnection implements ResourceConnection {
  readonly participant = 'irreversible'
  readonly #options: TcpOptions
  readonly #name: string
  readonly #connect: (scope: Scope) => Promise<Connection>
  /** Undefined: each call has one of its own (R2). */
  readonly #kept: Connection | undefined

  constructor(options: TcpOptions, name: string, connect: (scope: Scope) => Promise<Connection>, kept: Connection | undefined) {
    this.#options = options
    this.#name = name
    this.#connect = connect
    this.#kept = kept
  }

  get broken(): boolean {
    return this.#kept?.broken ?? false
  }

  async call(method: string, [message]: readonly unknown[], scope: Scope): Promise<unknown> {
    if (!METHODS.includes(method))
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: there is no method ${method}${didYouMean(method, METHODS)}`)
    const { encoding } = this.#options
    const bytes = bytesOf(message, encoding)
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended
    const connection = this.#kept ?? (await this.#connect(scope))
    try {
      if (method === 'request') return messageOf(await connection.request(bytes, scope), encoding)
      await connection.send(bytes, scope)
    } finally {
      if (!this.#kept) await connection.close()
    }
  }

  async close(): Promise<void> {
    await this.#kept?.close()
  }
}

/** The certificate is checked for the server's name, be it an address. */
function secure({ tls, host }: TcpOptions, name: string): ConnectionOptions | undefined {
  if (!tls) return undefined
  const { serverName = host } = tls
  return { ...tlsOptions({ ...tls, serverName: isIP(serverName) ? undefined : serverName }, name), host: serverName }
}
