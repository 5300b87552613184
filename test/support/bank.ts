/**
 * The bank: a project whose transactions cross two databases, the state, a queue and a compensated call, and can be crashed at each of their
 * boundaries; and what must hold of it afterwards.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { incidents, openTransactions } from '../../src/actors/transaction/admin.ts'
import type { Bus } from '../../src/bus/bus.ts'
import { testBus } from '../../src/testing/bus.ts'
import type { NatsServer } from '../../src/testing/nats.ts'
import type { Owner } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, startNode } from './node.ts'
import type { PostgresServer } from './postgres.ts'

/** Where, and what, is to be crashed next. */
export interface Crash {
  point: string
  participant?: number
  /** node: SIGKILL. stop: SIGSTOP. worker: its thread ends. nats: nats-server gets SIGKILL. database: its connections are terminated. */
  target: 'node' | 'stop' | 'worker' | 'nats' | 'database'
}

const TRANSFERS = `
export async function move(ctx, id, amount, fails = false) {
  const xa = ctx.transaction()
  xa.east.execute('insert into entries (id, amount) values ($1, $2)', [id, -amount])
  // it fails after the fee was charged
  if (fails) xa.west.execute('insert into entries (id, amount) select null, $1 from pg_sleep(0.5)', [amount])
  else if (ctx.config.west) xa.west.execute('insert into entries (id, amount) values ($1, $2)', [id, amount])
  xa.state.update(id, () => amount)
  xa.queue('audit', { id: 'audit-' + id }).module('bank', 'audit').note(id)
  const fee = xa.module('bank', 'fees').charge(id)
  if (!ctx.config.west) fee.undo('refund', id) // else as the module says itself
  await xa.execute()
  return id
}
/** Between accounts of whatever databases. */
export async function pay(ctx, from, to, amount, timeoutMs) {
  const xa = ctx.transaction({ timeoutMs })
  const change = 'update accounts set balance = balance + $1 where id = $2'
  xa.resource(from % 2 === 0 ? 'east' : 'west').execute(change, [-amount, from])
  xa.resource(to % 2 === 0 ? 'east' : 'west').execute(change, [amount, to])
  await xa.execute()
}
/** Holds a transaction open for longer than its deadline. */
export async function linger(ctx, id, seconds, timeoutMs) {
  const xa = ctx.transaction({ timeoutMs })
  xa.east.execute('insert into entries (id, amount) values ($1, 1)', [id])
  xa.west.execute('select pg_sleep($1)', [seconds])
  await xa.execute()
}
export async function moved(ctx) { return ctx.state.keys() }
`

const LEDGER = (methods: string): string => `
${methods}
export async function all(ctx) {
  const keys = await ctx.state.keys()
  return Object.fromEntries(await Promise.all(keys.map(async (key) => [key, await ctx.state.get(key)])))
}
`
const AUDIT = LEDGER(`export async function note(ctx, id) { await ctx.state.update(id, (n = 0) => n + 1) }`)
const FEES = LEDGER(`
export const compensations = { charge: 'refund' }
export async function charge(ctx, id) { await ctx.state.update(id, (n = 0) => n + 1); return id }
export async function refund(ctx, id) { await ctx.state.delete(id) }
`)

/** A call whose callee has died is answered by nobody. */
const CALL_MS = 3_000
const TRIES = 10

/** Whoever takes the order first crashes. */
const PROBE = `
import { subscribe } from 'node:diagnostics_channel'
import { execFileSync } from 'node:child_process'
import { readFileSync, renameSync } from 'node:fs'
const file = process.env.CRASH
let listening = false
export async function start() {
  if (listening) return
  listening = true
  subscribe('menagerie:transaction', ({ point, participant }) => {
    let crash
    try { crash = JSON.parse(readFileSync(file, 'utf8')) } catch { return }
    if (crash.point !== point || (crash.participant !== undefined && crash.participant !== participant)) return
    try { renameSync(file, file + '.taken') } catch { return }
    if (crash.target === 'node') process.kill(process.pid, 'SIGKILL')
    if (crash.target === 'stop') process.kill(process.pid, 'SIGSTOP')
    if (crash.target === 'worker') process.exit(7)
    if (crash.target === 'nats') process.kill(crash.pid, 'SIGKILL')
    if (crash.target === 'database') {
      const children = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(crash.postgres)], { encoding: 'utf8' })
      for (const line of children.split('\\n')) if (line.includes('127.0.0.1(')) process.kill(Number.parseInt(line), 'SIGTERM') // as pg_terminate_backend does
    }
  })
}
export async function hello() {}
`

export interface Bank {
  readonly folder: Project
  readonly bus: Bus
  readonly copies: NodeProcess[]
  /** Starts one more copy. */
  start(): NodeProcess
  /** The next transaction that comes to this boundary crashes there. */
  arm(crash: Crash): void
  /** Makes transfers until one has crashed. */
  untilCrashed(fails?: boolean): Promise<void>
  call(method: string, ...args: unknown[]): Promise<unknown>
  /** Resolves when no transaction is under way or left behind, and nothing is prepared. */
  settled(limitMs?: number): Promise<void>
  /** All money of all accounts; 1,000 is right. */
  money(): Promise<number>
  /** What is not whole, in words; empty is right. */
  scandals(): Promise<string[]>
}

/** `east`, and `west` if there are two databases; they may be on one server. */
export async function bank(owner: Owner, nats: NatsServer, eastServer: PostgresServer, westServer?: PostgresServer): Promise<Bank> {
  const east = eastServer.url.replace(/postgres$/, 'east')
  const west = westServer?.url.replace(/postgres$/, 'west')
  const servers = new Set([eastServer, ...(westServer ? [westServer] : [])])
  const resource = (url: string): string => `{ kind: 'postgresql', url: ${JSON.stringify(url)}, tls: false, pool: { size: 8 } }`
  const folder = project(owner, {
    'cages/bank/transfers.js': TRANSFERS,
    'cages/bank/audit.js': AUDIT,
    'cages/bank/fees.js': FEES,
    'cages/bank/probe.js': PROBE,
    'config/bank.ts': `export default {
      timeoutMs: 10_000,
      values: { west: ${west !== undefined} },
      resources: { east: ${resource(east)}${west === undefined ? '' : `, west: ${resource(west)}`} },
      queues: { audit: { backoff: { firstMs: 100 } } },
    }`,
  })
  for (const [server, url, name] of [
    [eastServer, east, 'east'],
    [westServer, west, 'west'],
  ] as const) {
    if (!server || url === undefined) continue
    await query(server.url, `create database ${name}`)
    await query(url, 'create table entries (id text primary key, amount numeric not null)')
    await query(url, 'create table accounts (id int primary key, balance numeric not null)')
    await query(url, `insert into accounts select n, 100 from generate_series(${name === 'east' ? 0 : 1}, 9, 2) n`)
  }
  const file = join(folder.dir, 'crash')
  const bus = await testBus(owner, nats.url)
  const copies: NodeProcess[] = []
  let transfers = 0
  const call = (method: string, ...args: unknown[]): Promise<unknown> => {
    const [module = '', name = ''] = method.split('.')
    return bus.call('bank', module, name, args, { deadline: Date.now() + CALL_MS, request: { id: 'test' } })
  }
  const ids = async (url: string): Promise<string[]> =>
    (await query(url, 'select id from entries order by id collate "C"')).map(({ id }) => String(id))
  const settled = async (): Promise<boolean> => {
    if ((await openTransactions(bus)).length > 0) return false
    const prepared = await Promise.all([...servers].map(({ url }) => query(url, 'select gid from pg_prepared_xacts')))
    return prepared.flat().length === 0
  }
  return {
    folder,
    bus,
    copies,
    call,
    start() {
      const words = ['--cage', 'bank', '--name', `copy-${copies.length}`, '--bus', nats.url]
      const copy = startNode(owner, folder.dir, words, { CRASH: file })
      copies.push(copy)
      return copy
    },
    arm: (crash) => writeFileSync(file, JSON.stringify({ ...crash, pid: nats.pid, postgres: eastServer.pid })),
    async untilCrashed(fails = false) {
      let end: unknown
      for (let tries = 0; existsSync(file); tries++) {
        if (tries === TRIES) throw new Error(`no transfer comes to where it is to crash: ${end}`, { cause: end })
        end = await call('transfers.move', `t${transfers++}`, 1, fails).catch((error: unknown) => error)
      }
    },
    settled: (limitMs) => eventually('transactions are settled', () => settled().catch(() => false), limitMs).then(() => {}),
    async money() {
      const sums = await Promise.all(
        [east, ...(west === undefined ? [] : [west])].map((url) => query(url, 'select sum(balance) from accounts')),
      )
      return sums.flat().reduce((all, { sum }) => all + Number(sum), 0)
    },
    async scandals() {
      // a cage whose workers have just been replaced answers a little later
      const asked = <T>(method: string): Promise<T> =>
        eventually(`${method} answers`, async () => (await call(method).catch(() => undefined)) as T | undefined)
      const found: string[] = []
      const [inEast, inWest, inState] = await Promise.all([ids(east), ids(west ?? east), asked<string[]>('transfers.moved')])
      const notes = await eventually('the queue is empty', async () => {
        const audited = await asked<Record<string, number>>('audit.all')
        return Object.keys(audited).length >= inEast.length && audited
      })
      const fees = await asked<Record<string, number>>('fees.all')
      const whole = inEast.join()
      if (inWest.join() !== whole) found.push(`east has ${difference(inEast, inWest)}, west has ${difference(inWest, inEast)}`)
      if ([...inState].sort().join() !== whole)
        found.push(`the state differs: ${difference(inState, inEast)} and ${difference(inEast, inState)}`)
      if (Object.keys(notes).sort().join() !== whole) found.push(`notes differ: ${difference(Object.keys(notes), inEast)}`)
      if (Object.keys(fees).sort().join() !== whole)
        found.push(`fees differ: ${difference(Object.keys(fees), inEast)} and ${difference(inEast, Object.keys(fees))}`)
      for (const [what, counts] of Object.entries({ notes, fees }))
        for (const [id, count] of Object.entries(counts)) if (count !== 1) found.push(`${what} has ${id} ${count} times`)
      for (const { id, problem, error } of await incidents(bus)) found.push(`incident ${id}: ${problem}: ${error.message}`)
      return found
    },
  }
}

/** One question to a database, on a connection of its own: the server may have been crashed since the last one. */
async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {}) // told by the query
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

function difference(these: readonly string[], those: readonly string[]): string {
  return `[${these.filter((item) => !those.includes(item))}]`
}
