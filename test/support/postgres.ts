/** Real PostgreSQL servers on free ports of loopback, each with data of its own. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { findPostgres } from '../../scripts/postgres.js'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { within } from '../../src/testing/wait.ts'
import type { CertificateFiles } from './certificates.ts'
import { unprivileged } from './process.ts'

export interface PostgresServer {
  readonly port: number
  readonly url: string
  readonly pid: number
  /** What it has said. */
  readonly log: () => string
  /** SIGQUIT: it ends all sessions at once, as in a crash, and recovers at its next start. */
  crash(): Promise<void>
  /** SIGINT: it ends, and its sessions with it. */
  stop(): Promise<void>
  /** Starts it again on its port and data. */
  restart(): Promise<void>
  /** Stops and continues it with all its processes: a server that is there and does not answer. */
  freeze(): void
  thaw(): void
}

export interface PostgresServerOptions {
  /** Run-time parameters. */
  settings?: Record<string, string | number> | undefined
  /** Lines of pg_hba.conf. Default: everybody from loopback. */
  access?: string[]
  tls?: CertificateFiles
  /** Default: true. */
  started?: boolean
}

/** The programs' folder, or an error that says how to get them. */
export function postgresBin(): string {
  const bin = findPostgres('.menagerie')
  if (bin === undefined) throw new Error('PostgreSQL is missing: run npm test, which installs it')
  return bin
}

/** Starts a server; it ends with its owner. PostgreSQL refuses to run as root, so root starts it as somebody else. */
export async function startPostgres(owner: Owner, options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const bin = postgresBin()
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-postgres-'))
  const data = join(dir, 'data')
  const user = unprivileged('postgres')
  const own = (path: string): void => user && chownSync(path, user.uid, user.gid)
  own(dir)
  const environment = { ...user, cwd: dir, env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', TZ: 'UTC' } }
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], environment)
  const settings: Record<string, string | number> = {
    ...{ listen_addresses: '127.0.0.1', unix_socket_directories: dir, max_prepared_transactions: 20, max_connections: 50 },
    ...{ fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', shared_buffers: '32MB', log_timezone: 'UTC' },
    ...options.settings,
  }
  if (options.access)
    execFileSync('tee', [join(data, 'pg_hba.conf')], {
      ...environment,
      input: `${options.access.join('\n')}\n`,
      stdio: ['pipe', 'ignore', 'inherit'],
    })
  if (options.tls) {
    for (const [name, file] of [
      ['ssl_cert_file', options.tls.cert],
      ['ssl_key_file', options.tls.key],
    ] as const) {
      settings[name] = join(dir, `${name}.pem`)
      copyFileSync(file, join(dir, `${name}.pem`))
      chmodSync(join(dir, `${name}.pem`), 0o600)
      own(join(dir, `${name}.pem`))
    }
    settings.ssl = 'on'
  }
  const port = await freePort()
  const words = Object.entries({ ...settings, port }).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const said: string[] = []
  let running: ChildProcess | undefined
  const server: PostgresServer = {
    port,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    get pid() {
      return running?.pid ?? 0
    },
    log: () => said.join('\n'),
    crash: () => end('SIGQUIT'),
    stop: () => end('SIGINT'),
    async restart() {
      await end('SIGINT')
      running = await launch()
    },
    freeze: () => signalAll('SIGSTOP'),
    thaw: () => signalAll('SIGCONT'),
  }
  atEnd(owner, async () => {
    if (running && running.exitCode === null) server.thaw()
    await end('SIGINT')
    rmSync(dir, { recursive: true, force: true })
  })
  if (options.started !== false) running = await launch()
  return server

  async function launch(): Promise<ChildProcess> {
    const child = spawn(join(bin, 'postgres'), ['-D', data, ...words], { ...environment, stdio: ['ignore', 'ignore', 'pipe'] })
    const kill = (): void => void child.kill('SIGQUIT')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    const ready = new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        said.push(line)
        if (line.includes('ready to accept connections')) resolve()
      })
      child.once('exit', () => reject(new Error(`postgres has ended: ${said.slice(-5).join('\n')}`)))
    })
    await within('postgres is ready', ready)
    return child
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const child = running
    running = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await within('postgres has ended', exited)
  }

  /** The server and the processes of its sessions. */
  function signalAll(signal: NodeJS.Signals): void {
    if (!running?.pid) return
    const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(running.pid)], { encoding: 'utf8' })
    for (const pid of [running.pid, ...stdout.trim().split(/\s+/).filter(Boolean).map(Number)]) process.kill(pid, signal)
  }
}

/** A plain client, to look at the server from outside. */
export async function plainClient(owner: Owner, { url }: PostgresServer): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {}) // a test may end the server
  await client.connect()
  atEnd(owner, () => client.end())
  return client
}
