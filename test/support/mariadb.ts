/** Real MariaDB servers on free ports of loopback, each with data of its own, and its own client to look at them from outside. */
import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import type { CertificateFiles } from './certificates.ts'
import { type ServerProcess, startServer, unprivileged } from './process.ts'

const run = promisify(execFile)

export interface MariadbServer extends ServerProcess {
  readonly port: number
  readonly url: string
  /** What MariaDB's own client says of SQL, as root over the local socket: a line for each row, tabs between the columns. */
  sql(text: string): Promise<string>
}

export interface MariadbServerOptions {
  args?: string[]
  tls?: CertificateFiles
}

/** Starts a server with a database `shop` and a user `shop`, password `pw`; it ends with its owner. It refuses to run as root, so root starts it as somebody else. */
export async function startMariadb(owner: Owner, { args = [], tls }: MariadbServerOptions = {}): Promise<MariadbServer> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-mariadb-'))
  atEnd(owner, () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }))
  const user = unprivileged('mysql')
  const own = (path: string): void => user && chownSync(path, user.uid, user.gid)
  own(dir)
  const data = join(dir, 'data')
  const socket = join(dir, 's')
  const install = [
    '--no-defaults',
    `--datadir=${data}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    '--skip-name-resolve',
  ]
  execFileSync('mariadb-install-db', install, { ...user, cwd: dir, stdio: 'ignore' })
  const secure = tls ? [`--ssl-cert=${copied('cert.pem', tls.cert)}`, `--ssl-key=${copied('key.pem', tls.key)}`] : ['--skip-ssl']
  const port = await freePort()
  const server = await startServer(owner, {
    ...{ command: 'mariadbd', cwd: dir, uid: user?.uid, gid: user?.gid },
    args: [
      ...[
        '--no-defaults',
        `--datadir=${data}`,
        `--socket=${socket}`,
        `--pid-file=${join(dir, 'pid')}`,
        '--bind-address=127.0.0.1',
        `--port=${port}`,
      ],
      ...['--innodb-buffer-pool-size=16M', '--innodb-log-file-size=8M', '--innodb-flush-log-at-trx-commit=1', '--skip-name-resolve'],
      ...[
        '--performance-schema=OFF',
        '--innodb-buffer-pool-load-at-startup=OFF',
        '--innodb-buffer-pool-dump-at-shutdown=OFF',
        ...secure,
        ...args,
      ],
    ],
    isReady: (said) => /ready for connections/.test(said),
  })
  const sql = async (text: string): Promise<string> =>
    (
      await run('mariadb', ['--no-defaults', `--socket=${socket}`, '--user=root', '--batch', '--skip-column-names', '-e', text])
    ).stdout.trim()
  await sql(
    `create database shop character set utf8mb4; create user shop@'127.0.0.1' identified by 'pw'; grant all on shop.* to shop@'127.0.0.1'`,
  )
  return Object.defineProperties(
    { port, url: `mysql://shop:pw@127.0.0.1:${port}/shop`, sql },
    Object.getOwnPropertyDescriptors(server),
  ) as MariadbServer

  function copied(name: string, from: string): string {
    const to = join(dir, name)
    copyFileSync(from, to)
    chmodSync(to, 0o600)
    own(to)
    return to
  }
}
