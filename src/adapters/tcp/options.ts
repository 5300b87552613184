/**
 * Options of TCP. docs/adapters/tcp.md explains each.
 *
 *   interfaces: { gate: { kind: 'tcp', port: 7000, call: 'gate.line' } },
 *   resources: { scale: { kind: 'tcp', host: 'scale.plant.example', port: 4001, lineEnding: '\r\n' } },
 */
import { z } from 'zod'
import { isTarget } from '../../names.ts'
import type { ClientTls } from '../client/tls.ts'
import { clientTls } from '../client/tls-options.ts'
import { serverTls, type TlsOptions } from '../http/options.ts'
import type { Framing } from './framing.ts'
import type { Encoding } from './message.ts'

/** Of the interface; checked and complete. */
export interface TcpListenOptions extends Framing {
  encoding: Encoding
  host: string
  port: number
  tls?: TlsOptions | undefined
  call: string
  /** What is answered for a call that failed; undefined: the connection is closed. */
  failure?: string | undefined
  halfClose: boolean
  timeoutMs?: number | undefined
  idleMs: number
  messageMs: number
  maxConnections: number
}

/** Of the resource; checked and complete. */
export interface TcpOptions extends Framing {
  encoding: Encoding
  host: string
  port: number
  tls: false | ClientTls
}

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const text = z.string().min(1)
const ms = z.number().int().min(1).max(LONGEST_MS)
const positive = z.number().int().positive()
const port = z.number().int().min(0).max(65_535)

export const encoding: z.ZodOptional<z.ZodEnum<{ utf8: 'utf8'; latin1: 'latin1'; bytes: 'bytes' }>> = z
  .enum(['utf8', 'latin1', 'bytes'])
  .optional()

export const target: z.ZodString = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })

/** Short and plain enough for every framing and encoding. */
export const failure: z.ZodString = z
  .string()
  .refine((text) => Buffer.byteLength(text) === text.length, { error: 'is not ASCII' })
  .refine((text) => text.replaceAll('{code}', 'C'.repeat(64)).length <= 255, { error: 'is too long' })

const framing = {
  framing: z.enum(['line', 'length', 'raw']).default('line'),
  encoding,
  lineEnding: z.enum(['\n', '\r\n']).default('\n'),
  lengthBytes: z.union([z.literal(1), z.literal(2), z.literal(4)]).default(4),
  lengthOrder: z.enum(['big', 'little']).default('big'),
  maxMessageBytes: z.number().int().min(255).max(900_000_000).optional(),
}

type Framed = z.infer<z.ZodObject<typeof framing>>

export const tcpListenOptions: z.ZodType<TcpListenOptions> = z
  .strictObject({
    ...framing,
    host: text.default('127.0.0.1'),
    port,
    tls: serverTls.optional(),
    call: target,
    failure: failure.optional(),
    halfClose: z.boolean().default(true),
    timeoutMs: ms.optional(),
    idleMs: ms.default(60_000),
    messageMs: ms.default(30_000),
    maxConnections: positive.default(1_000),
  })
  .superRefine((given, context) => {
    checkFraming(given, context)
    const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    if (given.framing === 'raw' && !given.halfClose) mistake('halfClose', 'a raw message ends with the half of its connection')
    if (given.framing === 'line' && given.failure?.includes('\n')) mistake('failure', 'is more than one line')
  })
  .transform((given) => ({ ...given, ...complete(given) }))

export const tcpOptions: z.ZodType<TcpOptions> = z
  .strictObject({ ...framing, host: text, port: port.min(1), tls: z.union([z.boolean(), clientTls]).default(false) })
  .superRefine(checkFraming)
  .transform((given) => ({ ...given, ...complete(given), tls: given.tls === true ? { verify: true } : given.tls }))

function checkFraming({ framing, lengthBytes, maxMessageBytes = 0 }: Framed, context: z.RefinementCtx): void {
  const most = 256 ** lengthBytes - 1
  if (framing !== 'length' || maxMessageBytes <= most) return
  context.addIssue({ code: 'custom', path: ['maxMessageBytes'], message: `${lengthBytes} bytes count to ${most}` })
}

function complete({ framing, encoding, lengthBytes, maxMessageBytes }: Framed): { encoding: Encoding; maxMessageBytes: number } {
  const most = framing === 'line' ? 65_536 : framing === 'length' ? Math.min(1_000_000, 256 ** lengthBytes - 1) : 1_000_000
  return { encoding: encoding ?? (framing === 'line' ? 'utf8' : 'bytes'), maxMessageBytes: maxMessageBytes ?? most }
}
