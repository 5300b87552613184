/** Sagas under test: the shop of `cages/shop`, a module of saboteurs, and what a test asks of them. */
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bus } from '../../src/bus/bus.ts'
import type { CallStatus, EnqueueOptions } from '../../src/bus/queue/contract.ts'
import { testBus } from '../../src/testing/bus.ts'
import type { Owner } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, ROOT, startNode } from './node.ts'

/**
 * Ends its process, or stops it, when a saga comes for the first time to `$AT`, `<saga> <point> <step>`.
 */
export const SABOTEUR = `
import { appendFileSync, existsSync, writeFileSync } from 'node:fs'
import { subscribe } from 'node:diagnostics_channel'
const { AT, TRACE, WITH = 'SIGKILL' } = process.env
let listening = false
export function start() {
  if (listening || !AT) return
  listening = true
  subscribe('menagerie:saga', ({ saga, point, step }) => {
    const hit = TRACE + '.' + AT.replaceAll(' ', '.')
    if ([saga, point, step].filter(Boolean).join(' ') !== AT || existsSync(hit)) return
    writeFileSync(hit, '')
    process.kill(process.pid, WITH)
  })
}
export async function count(ctx, what) {
  appendFileSync(TRACE, what + '\\n')
  return await ctx.state.update('count', (n = 0) => n + 1)
}
`

export interface Shop {
  readonly folder: Project
  readonly bus: Bus
  readonly url: string
  /** Starts a node of the cage, or of another one. */
  start(env?: NodeJS.ProcessEnv, cage?: string): NodeProcess
  /** Lines that the saboteur's methods, and the sagas under test, have written. */
  trace(): string[]
  /** Calls `shop.<module>.<method>`. */
  call<T = unknown>(target: string, ...args: unknown[]): Promise<T>
  /** Queues `shop.<target>`; resolves with the id. */
  enqueue(target: string, args: unknown[], options?: Partial<EnqueueOptions>): Promise<string>
  /** Resolves once the call is in this state. */
  until(id: string, state: CallStatus['state']): Promise<CallStatus>
  /** Resolves once no saga of the cage is open. */
  settled(): Promise<void>
}

/** Sets the shop up on a server, with other modules if need be. */
export async function shop(
  owner: Owner,
  url: string,
  files: Record<string, string> = {},
  config = '{ queues: { orders: { maxAttempts: 5, backoff: { firstMs: 100 } } } }',
): Promise<Shop> {
  const folder = project(owner, { 'cages/shop/saboteur.js': SABOTEUR, 'config/shop.ts': `export default ${config}`, ...files })
  cpSync(join(ROOT, 'cages', 'shop'), join(folder.dir, 'cages', 'shop'), { recursive: true })
  const file = join(folder.dir, 'trace')
  const bus = await testBus(owner, url)
  return {
    folder,
    bus,
    url,
    start: (env = {}, cage = 'shop') => startNode(owner, folder.dir, ['--cage', cage, '--bus', url], { TRACE: file, ...env }),
    trace: () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []),
    call: async <T>(target: string, ...args: unknown[]) => {
      const [module = '', method = ''] = target.split('.')
      return (await bus.call('shop', module, method, args, { deadline: Date.now() + 10_000, request: { id: 'test' } })) as T
    },
    enqueue: (target, args, options = {}) => {
      const [module = '', method = ''] = target.split('.')
      return bus.enqueue('orders', 'shop', module, method, args, { request: { id: 'test' }, deadline: Date.now() + 10_000, ...options })
    },
    until: (id, state) =>
      eventually(`call ${id} is ${state}`, async () => {
        const status = await bus.queues.status(id)
        return status?.state === state && status
      }),
    settled: () => eventually('no saga is open', async () => (await bus.journals.list('saga', 'shop')).length === 0).then(() => {}),
  }
}

/** What the shop has: all of it together must never change. */
export async function inventory({ call }: Shop, item: string, customer: string): Promise<object> {
  const [stock, balance, letters] = await Promise.all([
    call<{ free: number; reserved: Record<string, number> }>('stock.show', item),
    call<number>('payment.balance', customer),
    call<string[]>('mail.outbox', customer),
  ])
  return { ...stock, balance, letters: letters.length }
}
