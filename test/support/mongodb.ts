/** Real MongoDB engines on free ports of loopback, each with data of its own; or, for some tests, the server of MONGODB_URL. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Db, MongoClient } from 'mongodb'
import { findMongoRunner } from '../../scripts/mongodb.js'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { within } from '../../src/testing/wait.ts'

export interface MongoServer {
  readonly port: number
  /** Without a database. */
  readonly url: string
  /** SIGKILL. */
  kill(): Promise<void>
  /** Starts it on its port and data, unless it runs. */
  start(): Promise<void>
  /** Connections that work, heartbeats not counted. */
  sessions(): Promise<number>
  /** Stops and continues it: a server that is there and does not answer. */
  freeze(): void
  thaw(): void
}

/** A replica set of yours, with which the tests are run besides: its URL. */
export const REPLICA_SET: string | undefined = process.env.MONGODB_URL

/** Starts an engine; it ends with its owner. It has neither users, sessions, transactions nor change streams. */
export async function startMongo(owner: Owner): Promise<MongoServer> {
  const runner = findMongoRunner('.menagerie')
  if (!runner) throw new Error('a C library for the engine of MongoDB is missing: run npm test, which gets it')
  const [command = '', ...words] = runner
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-mongodb-'))
  const port = await freePort()
  let running: ChildProcess | undefined
  const server: MongoServer = {
    port,
    url: `mongodb://127.0.0.1:${port}/?directConnection=true`,
    async kill() {
      const child = running
      running = undefined
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await within('the engine has ended', exited)
    },
    async start() {
      running ??= await launch()
    },
    async sessions() {
      if (!running) return 0
      const told = once(running, 'message')
      running.send('sessions')
      return Number((await told)[0])
    },
    freeze: () => void running?.kill('SIGSTOP'),
    thaw: () => void running?.kill('SIGCONT'),
  }
  atEnd(owner, async () => {
    await server.kill()
    rmSync(dir, { recursive: true, force: true })
  })
  await server.start()
  return server

  async function launch(): Promise<ChildProcess> {
    const program = join(import.meta.dirname, 'mongodb-engine.js')
    const child = spawn(command, [...words, program, dir, String(port)], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    const kill = (): void => void child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    const said: string[] = []
    const ready = new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', (data) => said.push(String(data)))
      child.stdout?.once('data', () => resolve()) // it says nothing else
      child.once('exit', () => reject(new Error(`the engine has ended: ${said.slice(-5).join('\n')}`)))
    })
    await within('the engine is ready', ready)
    return child
  }
}

/** A client of the driver's own, to look at the server from outside. */
export async function plainMongo(owner: Owner, url: string, database = 'test'): Promise<Db> {
  const client = new MongoClient(url)
  client.on('error', () => {}) // a test may end the server
  await client.connect()
  atEnd(owner, () => client.close())
  return client.db(database)
}

/** Stages that make 10^12 documents of one: a pipeline that takes hours, and can be ended. */
export const ENDLESS: object[] = [
  ...['a', 'b', 'c', 'd'].flatMap((name) => [{ $addFields: { [name]: { $range: [0, 1_000] } } }, { $unwind: `$${name}` }]),
  { $group: { _id: '$d' } },
]
