/**
 * Options of UDP. docs/adapters/udp.md explains each.
 *
 *   interfaces: { metrics: { kind: 'udp', port: 8125, call: 'metrics.take', encoding: 'utf8' } },
 *   resources: { beacon: { kind: 'udp', host: 'time.plant.example', port: 9999 } },
 */
import { z } from 'zod'
import type { Encoding } from '../tcp/message.ts'
import { encoding, failure, target } from '../tcp/options.ts'

/** Of the interface; checked and complete. */
export interface UdpListenOptions {
  host: string
  port: number
  call: string
  encoding: Encoding
  /** What is answered for a call that failed; undefined: nothing. */
  failure?: string | undefined
  timeoutMs?: number | undefined
  concurrency: number
  maxWaiting: number
}

/** Of the resource; checked and complete. */
export interface UdpOptions {
  host: string
  port: number
  encoding: Encoding
  broadcast: boolean
}

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const text = z.string().min(1)
const port = z.number().int().min(0).max(65_535)

export const udpListenOptions: z.ZodType<UdpListenOptions> = z.strictObject({
  host: text.default('127.0.0.1'),
  port,
  call: target,
  encoding: encoding.default('bytes'),
  failure: failure.optional(),
  timeoutMs: z.number().int().min(1).max(LONGEST_MS).optional(),
  concurrency: z.number().int().min(1).max(10_000).default(64),
  maxWaiting: z.number().int().nonnegative().default(1_000),
})

export const udpOptions: z.ZodType<UdpOptions> = z.strictObject({
  host: text,
  port: port.min(1),
  encoding: encoding.default('bytes'),
  broadcast: z.boolean().default(false),
})
