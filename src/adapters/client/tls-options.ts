/** `tls` of a resource that connects to a server by TLS. */
import { z } from 'zod'
import type { ClientTls } from './tls.ts'

const file = z.string().min(1)

export const clientTls: z.ZodType<ClientTls> = z
  .strictObject({
    caFile: file.optional(),
    certFile: file.optional(),
    keyFile: file.optional(),
    serverName: z.string().min(1).optional(),
    verify: z.boolean().default(true),
  })
  .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
    error: 'certFile and keyFile are needed together',
  })

/** Loopback and the folders of local sockets: where TLS is off unless it is asked for. */
export function isLocal(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127\./.test(host)
}
