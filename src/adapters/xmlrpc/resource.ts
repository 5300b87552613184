/**
 * XML-RPC as a resource (xmlrpc.com/spec; RFC 9110): calls a server over HTTP or HTTPS. options.ts has a sample configuration.
 *
 *   const total = await ctx.resources.partner.call<number>('orders.total', 7)
 *   const [a, b] = await ctx.resources.partner.multicall([['orders.total', 7], ['orders.total', 8]])
 */
import { Client } from 'undici'
import type { Resource, ResourceHost } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { XmlrpcConnection } from './connection.ts'
import { Codec } from './messages.ts'
import type { XmlrpcOptions } from './options.ts'

export async function open(options: XmlrpcOptions, { name }: ResourceHost): Promise<Resource> {
  const codec = new Codec(options)
  return {
    async connect(scope) {
      const client = new Client(new URL(options.url).origin, {
        connect: { ...tlsOptions(options.tls, name), timeout: 0 }, // scopes are the limits
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
