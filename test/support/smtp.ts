/** Mail servers in processes of their own: one that does as it is told (smtp-peer.js), and Postfix. */
import { type ChildProcess, execFileSync, fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import type { CertificateFiles } from './certificates.ts'
import { signalTree, unprivileged } from './process.ts'

/** A message that the server has taken. */
export interface Taken {
  from: string
  to: string[]
  /** Bytes as characters. */
  raw: string
  tls: boolean
  user?: string
}

interface Told {
  event: 'ready' | 'bytes' | 'answer'
  bytes: number
  id: number
  running: number
  sessions: number
  messages: Taken[]
}

export interface SmtpServer {
  readonly port: number
  /** Calls that it works on, connections that it has, messages that it has taken since its start. */
  stats(): Promise<Pick<Told, 'running' | 'sessions' | 'messages'>>
  /** Bytes that have arrived of the message that arrives. */
  arrived(): number
  kill(): Promise<void>
  start(): Promise<void>
  freeze(): void
  thaw(): void
}

export async function startSmtp(
  owner: Owner,
  options: { tls?: CertificateFiles; secure?: boolean; size?: number } = {},
): Promise<SmtpServer> {
  const port = await freePort()
  const { tls, secure, size } = options
  const words = JSON.stringify({ port, secure, size, cert: tls?.cert, key: tls?.key })
  let running: ChildProcess | undefined
  let asked = 0
  let bytes = 0
  const told = (child: ChildProcess, wanted: (told: Told) => boolean): Promise<Told> =>
    new Promise((resolve) => {
      const listener = (message: unknown): void => {
        if (!wanted(message as Told)) return
        child.off('message', listener)
        resolve(message as Told)
      }
      child.on('message', listener)
    })
  const server: SmtpServer = {
    port,
    arrived: () => bytes,
    async stats() {
      if (!running) return { running: 0, sessions: 0, messages: [] }
      const id = ++asked
      const answer = told(running, (message) => message.event === 'answer' && message.id === id)
      running.send(id)
      return await within('the mail server tells', answer)
    },
    async kill() {
      const child = running
      running = undefined
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await within('the mail server has ended', exited)
    },
    async start() {
      await server.kill() // it may be ending by itself
      bytes = 0
      const child = fork(join(import.meta.dirname, 'smtp-peer.js'), [words], {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        execArgv: [],
      })
      child.on('message', (message: Told) => {
        if (message.event === 'bytes') bytes = message.bytes
      })
      running = child
      await within(
        'the mail server is ready',
        told(child, ({ event }) => event === 'ready'),
      )
    },
    freeze: () => void running?.kill('SIGSTOP'),
    thaw: () => void running?.kill('SIGCONT'),
  }
  atEnd(owner, () => server.kill())
  await server.start()
  return server
}

export interface Postfix {
  readonly port: number
  /** What a user of `x.test` (alice, bob) has got. */
  messages(user: string): string[]
  log(): string
}

/** A real MTA with a queue of its own: takes mail for alice@x.test and bob@x.test, refuses all other. It must be started by root. */
export async function startPostfix(owner: Owner, tls: CertificateFiles): Promise<Postfix> {
  const account = unprivileged()
  if (!account) throw new Error('only root can start postfix')
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-postfix-'))
  const port = await freePort()
  chmodSync(dir, 0o755)
  for (const name of ['etc', 'queue', 'data', 'mail']) mkdirSync(join(dir, name))
  const id = (what: string): number => Number(execFileSync('id', [what, 'postfix']).toString())
  chownSync(join(dir, 'data'), id('-u'), id('-g'))
  chownSync(join(dir, 'mail'), account.uid, account.gid)
  for (const name of ['cert', 'key'] as const) copyFileSync(tls[name], join(dir, 'etc', name))
  chmodSync(join(dir, 'etc', 'key'), 0o600)
  const settings = {
    ...{ compatibility_level: '3.6', queue_directory: join(dir, 'queue'), data_directory: join(dir, 'data') },
    ...{ maillog_file: join(dir, 'maillog'), maillog_file_prefixes: tmpdir(), myhostname: 'mail.x.test', mydestination: '' },
    ...{
      inet_interfaces: '127.0.0.1',
      inet_protocols: 'ipv4',
      mynetworks: '127.0.0.0/8',
      smtpd_relay_restrictions: 'reject_unauth_destination',
    },
    ...{ smtpd_tls_security_level: 'may', smtpd_tls_cert_file: join(dir, 'etc', 'cert'), smtpd_tls_key_file: join(dir, 'etc', 'key') },
    ...{ virtual_mailbox_domains: 'x.test', virtual_mailbox_base: join(dir, 'mail') },
    ...{ virtual_mailbox_maps: 'inline:{alice@x.test=alice/, bob@x.test=bob/}' },
    ...{ virtual_uid_maps: `static:${account.uid}`, virtual_gid_maps: `static:${account.gid}` },
    ...{ message_size_limit: '200000', virtual_mailbox_limit: '0', default_transport: 'error:outside mail is off' },
  }
  writeFileSync(
    join(dir, 'etc', 'main.cf'),
    Object.entries(settings)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join(''),
  )
  const service = (line: string): string => `${line}\n`
  writeFileSync(
    join(dir, 'etc', 'master.cf'),
    [
      `127.0.0.1:${port} inet n - n - - smtpd`,
      'pickup unix n - n 60 1 pickup',
      'cleanup unix n - n - 0 cleanup',
      'qmgr unix n - n 300 1 qmgr',
      ...['rewrite unix - - n - - trivial-rewrite', 'bounce unix - - n - 0 bounce', 'defer unix - - n - 0 bounce'],
      ...['trace unix - - n - 0 bounce', 'verify unix - - n - 1 verify', 'proxymap unix - - n - - proxymap'],
      ...['error unix - - n - - error', 'retry unix - - n - - error', 'virtual unix - n n - - virtual', 'smtp unix - - n - - smtp'],
      ...[
        'anvil unix - - n - 1 anvil',
        'scache unix - - n - 1 scache',
        'tlsmgr unix - - n 1000? 1 tlsmgr',
        'postlog unix-dgram n - n - 1 postlogd',
      ],
    ]
      .map(service)
      .join(''),
  )
  const child = spawn('postfix', ['-c', join(dir, 'etc'), 'start-fg'], { stdio: 'ignore' })
  const end = (): void => void (child.pid && signalTree(child.pid, 'SIGKILL'))
  process.once('exit', end)
  atEnd(owner, async () => {
    const exited = once(child, 'exit')
    spawnSync('postfix', ['-c', join(dir, 'etc'), 'stop'])
    if (child.exitCode === null && child.signalCode === null) await within('postfix has ended', exited)
    process.off('exit', end)
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  })
  const log = (): string => (existsSync(join(dir, 'maillog')) ? readFileSync(join(dir, 'maillog'), 'utf8') : '')
  await eventually('postfix is ready', () => {
    if (child.exitCode !== null) throw new Error(`postfix has ended: ${log()}`)
    return log().includes('daemon started')
  })
  return {
    port,
    log,
    messages(user) {
      const path = join(dir, 'mail', user, 'new')
      return existsSync(path) ? readdirSync(path).map((file) => readFileSync(join(path, file), 'latin1')) : []
    },
  }
}
