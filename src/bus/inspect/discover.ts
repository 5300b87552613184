/**
 * Discover: who is there, asked by ADR-32 as `nats micro info` asks, but for cages only.
 * D1. How many will answer nobody knows: it is waited until nobody has for `quietMs`.
 */
import type { NatsConnection } from 'nats'
import { gather } from '../gather.ts'
import type { Discovered, DiscoveredMethod } from './contract.ts'

export interface DiscoverOptions {
  cage?: string | undefined
  /** At most so long. */
  withinMs?: number | undefined
  quietMs?: number | undefined
}

/** Every copy of every cage, or of one; sorted by cage and node. */
export async function discover(nc: NatsConnection, options: DiscoverOptions = {}): Promise<Discovered[]> {
  const { cage, withinMs = 1_000, quietMs = 250 } = options
  const subject = cage === undefined ? '$SRV.INFO' : `$SRV.INFO.${cage}`
  const { answers } = await gather(nc, subject, new Uint8Array(0), { withinMs, quietMs })
  const found = answers.map((msg) => readInfo(msg.string())).filter((copy) => copy !== undefined)
  return found.sort((a, b) => `${a.cage} ${a.node} ${a.id}`.localeCompare(`${b.cage} ${b.node} ${b.id}`))
}

interface Info {
  name: string
  id: string
  metadata: Record<string, string>
  endpoints: { subject: string; metadata?: Record<string, string> | null }[] | null
}

/** Undefined for what is no cage. Pure. */
export function readInfo(text: string): Discovered | undefined {
  try {
    const { name, id, metadata, endpoints } = JSON.parse(text) as Info
    const { node, pid, runtime, node_version: nodeVersion } = metadata
    if (!runtime?.startsWith('menagerie ') || node === undefined) return undefined
    const methods = (endpoints ?? []).flatMap((endpoint): DiscoveredMethod[] => {
      const [cage, module, method, ...more] = endpoint.subject.split('.')
      if (cage !== name || module === undefined || method === undefined || more.length > 0) return []
      return [{ module, method, args: endpoint.metadata?.args ?? '' }]
    })
    return { cage: name, id, node, pid: Number(pid), runtime, nodeVersion: nodeVersion ?? '', methods }
  } catch {
    return undefined // another program's service, or not one at all
  }
}
