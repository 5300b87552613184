/**
 * XML-RPC as a resource (xmlrpc.com/spec; RFC 9110): calls a server over HTTP or HTTPS. options.ts has a sample configuration.
 *
 *   const total = await ctx.resources.partner.call<number>('orders.total', 7)
 *   const [a, b] = await ctx.resources.partner.multicall([['orders.total', 7], ['orders.total', 8]])
 */
import { readFile } from 'node:fs/promises'
import { Client } from 'undici'
import { CageError } from '../../errors.ts'
import type { Resource, ResourceHost } from '../adapter.ts'
import { XmlrpcConnection } from './connection.ts'
import { Codec } from './messages.ts'
import type { XmlrpcOptions, XmlrpcTls } from './options.ts'

export async function open(options: XmlrpcOptions, { name }: ResourceHost): Promise<Resource> {
  const codec = new Codec(options)
  return {
    async connect(scope) {
      const client = new Client(new URL(options.url).origin, {
        connect: { ...(await credentials(options.tls, name)), timeout: 0 }, // scopes are the limits
        headersTimeout: 0,
        bodyTimeout: 0,
        maxResponseSize: options.maxResponseBytes,
      })
      const connection = new XmlrpcConnection(client, options, codec, name)
      if (options.probe) await connection.check(scope)
      return connection
    },
  }
}

/** Read with each connection: renewed files are taken up. */
async function credentials({ caFile, certFile, keyFile, verify }: XmlrpcTls, resource: string): Promise<object> {
  const read = async (file: string | undefined): Promise<string | undefined> => {
    if (file === undefined) return undefined
    return await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      throw new CageError('UNAVAILABLE', `${resource}: ${file} cannot be read (${cause.code})`, { cause })
    })
  }
  const [ca, cert, key] = await Promise.all([read(caFile), read(certFile), read(keyFile)])
  return { ca, cert, key, rejectUnauthorized: verify }
}
