/**
 * Discover: who is there, asked by ADR-32 as `nats micro info` asks, but for cages only.
 * D1. How many will answer nobody knows: it is waited until nobody has for `quietMs`.
 */
import type { NatsConnection } from 'nats'
import type { Discovered, DiscoveredMethod } from './contract.ts'

export interface DiscoverOptions {
  cage?: string | undefined
  /** At most so long. */
  withinMs?: number | undefined
  quietMs?: number | undefined
}

/** Every copy of every cage, or of one; sorted by cage and node. */
export function discover(nc: NatsConnection, options: DiscoverOptions = {}): Promise<Discovered[]> {
  const { cage, withinMs = 1_000, quietMs = 250 } = options
  return new Promise((resolve) => {
    const found: Discovered[] = []
    const inbox = `_INBOX.${crypto.randomUUID()}`
    const end = (): void => {
      clearTimeout(quiet)
      clearTimeout(limit)
      subscription.unsubscribe()
      resolve(found.sort((a, b) => `${a.cage} ${a.node} ${a.id}`.localeCompare(`${b.cage} ${b.node} ${b.id}`)))
    }
    const subscription = nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (error || msg.headers?.code === 503) return end() // nobody is there
        const copy = readInfo(msg.string())
        if (copy) found.push(copy)
        quiet.refresh()
      },
    })
    const quiet = setTimeout(end, Math.min(quietMs, withinMs))
    const limit = setTimeout(end, withinMs)
    nc.publish(cage === undefined ? '$SRV.INFO' : `$SRV.INFO.${cage}`, undefined, { reply: inbox })
  })
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
