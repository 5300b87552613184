/** Real Dovecot servers (IMAP and POP3) on free ports of loopback, 2.3 or 2.4. The users of USERS are there, mail is in Maildirs. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
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
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import type { CertificateFiles } from './certificates.ts'
import { signalTree, unprivileged } from './process.ts'

export const PASSWORD = 'pw'
export const USERS: readonly string[] = Array.from({ length: 100 }, (_, n) => `user${n + 1}`)

export interface DovecotServer {
  readonly ports: Readonly<Record<'imap' | 'imaps' | 'pop3' | 'pop3s', number>>
  /** Puts a message into a mailbox, as a delivery agent does. */
  deliver(user: string, raw: string | Buffer): void
  /** What is in a folder: each message's bytes and the letters of its flags (S seen, F flagged ...). */
  messages(user: string, folder?: string): { raw: Buffer; flags: string }[]
  /** Makes a mailbox with nothing in it. */
  create(user: string): void
  log(): string
  /** SIGKILL of all its processes. */
  kill(): Promise<void>
  start(): Promise<void>
  /** It is there and does not answer. */
  freeze(): void
  thaw(): void
}

/** Starts a server; it ends with its owner. */
export async function startDovecot(owner: Owner, options: { tls?: CertificateFiles } = {}): Promise<DovecotServer> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-dovecot-'))
  const account = unprivileged()
  const own = (path: string): string => {
    if (account) chownSync(path, account.uid, account.gid)
    return path
  }
  const folder = (path: string): void => {
    mkdirSync(path)
    own(path)
  }
  own(dir)
  for (const name of ['run', 'mail', 'tls']) folder(join(dir, name))
  const ports = { imap: await freePort(), imaps: await freePort(), pop3: await freePort(), pop3s: await freePort() }
  if (options.tls)
    for (const name of ['cert', 'key'] as const) {
      copyFileSync(options.tls[name], join(dir, 'tls', name))
      chmodSync(own(join(dir, 'tls', name)), 0o600)
    }
  const config = join(dir, 'dovecot.conf')
  writeFileSync(join(dir, 'passwd'), USERS.map((name) => `${name}:{PLAIN}${PASSWORD}::::::\n`).join(''))
  own(join(dir, 'passwd'))
  const user = account?.name ?? userInfo().username
  const isOld = execFileSync('dovecot', ['--version']).toString().startsWith('2.3')
  const facts = { dir, user, group: execFileSync('id', ['-gn', user]).toString().trim(), ports, tls: options.tls !== undefined }
  writeFileSync(config, common(facts) + (isOld ? of23(facts) : of24(facts)))
  own(config)
  let running: ChildProcess | undefined
  let delivered = 0
  const maildir = (name: string, inner?: string): string => join(dir, 'mail', name, inner === undefined ? '' : `.${inner}`)
  const server: DovecotServer = {
    ports,
    create(name) {
      for (const path of [maildir(name), ...['cur', 'new', 'tmp'].map((part) => join(maildir(name), part))])
        if (!existsSync(path)) folder(path)
    },
    deliver(name, raw) {
      server.create(name)
      const file = `${Date.now()}.${process.pid}_${++delivered}.test`
      const temporary = join(maildir(name), 'tmp', file)
      writeFileSync(temporary, raw)
      renameSync(own(temporary), join(maildir(name), 'new', file))
    },
    messages(name, inner) {
      return ['new', 'cur'].flatMap((part) => {
        const path = join(maildir(name, inner), part)
        const files = existsSync(path) ? readdirSync(path) : []
        return files.flatMap((file) => {
          try {
            return [{ raw: readFileSync(join(path, file)), flags: /:2,(\w*)$/.exec(file)?.[1] ?? '' }]
          } catch {
            return [] // it has been renamed meanwhile
          }
        })
      })
    },
    log: () => (existsSync(join(dir, 'dovecot.log')) ? readFileSync(join(dir, 'dovecot.log'), 'utf8') : ''),
    async kill() {
      const child = running
      running = undefined
      if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      signalTree(child.pid, 'SIGKILL')
      await within('dovecot has ended', exited)
    },
    async start() {
      if (running) return
      rmSync(join(dir, 'run'), { recursive: true, force: true })
      folder(join(dir, 'run'))
      const child = spawn('dovecot', ['-F', '-c', config], {
        stdio: 'ignore',
        cwd: dir,
        ...(account ? { uid: account.uid, gid: account.gid } : {}),
      })
      const end = (): void => void (child.pid && signalTree(child.pid, 'SIGKILL'))
      process.once('exit', end)
      child.once('exit', () => process.off('exit', end))
      running = child
      await eventually('dovecot is ready', async () => {
        if (child.exitCode !== null) throw new Error(`dovecot has ended: ${server.log()}`)
        return (await isOpen(ports.imap)) && (await isOpen(ports.pop3))
      })
    },
    freeze: () => void (running?.pid && signalTree(running.pid, 'SIGSTOP')),
    thaw: () => void (running?.pid && signalTree(running.pid, 'SIGCONT')),
  }
  atEnd(owner, async () => {
    await server.kill()
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  })
  await server.start()
  return server
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'data')
    return true
  } catch {
    return false // not yet
  } finally {
    socket.destroy()
  }
}

interface Facts {
  dir: string
  user: string
  group: string
  ports: DovecotServer['ports']
  tls: boolean
}

function common({ dir, user, group, ports, tls }: Facts): string {
  const listener = (name: string, port: number, ssl: boolean): string =>
    `  inet_listener ${name} {\n    port = ${tls || !ssl ? port : 0}\n${ssl ? '    ssl = yes\n' : ''}  }\n`
  const service = (name: string, lines: string): string => `service ${name} {\n  chroot =\n${lines}}\n`
  return `${execFileSync('dovecot', ['--version']).toString().startsWith('2.3') ? '' : 'dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n'}listen = 127.0.0.1
base_dir = ${dir}/run
state_dir = ${dir}/run
log_path = ${dir}/dovecot.log
instance_name = menagerie-test
default_internal_user = ${user}
default_internal_group = ${group}
default_login_user = ${user}
ssl = ${tls ? 'yes' : 'no'}
first_valid_uid = 1
mail_uid = ${user}
mail_gid = ${group}
mail_fsync = never
auth_mechanisms = plain login
${service('imap-login', listener('imap', ports.imap, false) + listener('imaps', ports.imaps, true))}${service(
  'pop3-login',
  listener('pop3', ports.pop3, false) + listener('pop3s', ports.pop3s, true),
)}`
}

function of23({ dir, user, group, tls }: Facts): string {
  const socket = (name: string): string => `  unix_listener ${name} {\n    user = ${user}\n    mode = 0660\n  }\n`
  return `protocols = imap pop3
disable_plaintext_auth = no
auth_failure_delay = 0
${tls ? `ssl_cert = <${dir}/tls/cert\nssl_key = <${dir}/tls/key\n` : ''}mail_location = maildir:${dir}/mail/%u
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u ${dir}/passwd
}
userdb {
  driver = static
  args = uid=${user} gid=${group} home=${dir}/mail/%u
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
${socket('stats-reader')}${socket('stats-writer')}}
service auth {
${socket('auth-userdb')}}
`
}

function of24({ dir, user, group, tls }: Facts): string {
  return `protocols {
  imap = yes
  pop3 = yes
}
auth_allow_cleartext = yes
${tls ? `ssl_server_cert_file = ${dir}/tls/cert\nssl_server_key_file = ${dir}/tls/key\n` : ''}mail_driver = maildir
mail_path = ${dir}/mail/%{user}
mail_home = ${dir}/mail/%{user}
passdb passwd-file {
  passwd_file_path = ${dir}/passwd
  default_password_scheme = PLAIN
}
userdb static {
  fields {
    uid = ${user}
    gid = ${group}
  }
}
namespace inbox {
  inbox = yes
}
service anvil {
  chroot =
}
service imap-hibernate {
  chroot =
}
`
}
