/** Real Redis servers on free ports of loopback, and redis-cli to look at them from outside. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import type { CertificateFiles } from './certificates.ts'
import { type ServerProcess, startServer } from './process.ts'

const run = promisify(execFile)

export interface RedisServer extends ServerProcess {
  readonly port: number
  readonly url: string
  /** What redis-cli says of a command. */
  cli(...words: string[]): Promise<string>
}

export interface RedisServerOptions {
  /** As on its command line: `['--requirepass', 'secret']`. */
  args?: string[]
  tls?: CertificateFiles
  /** What redis-cli needs to be let in. */
  cliArgs?: string[]
}

/** Starts a server without persistence; it ends with its owner. */
export async function startRedis(owner: Owner, { args = [], tls, cliArgs = [] }: RedisServerOptions = {}): Promise<RedisServer> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-redis-'))
  atEnd(owner, () => rmSync(dir, { recursive: true, force: true }))
  const port = await freePort()
  const secure = tls
    ? ['--port', '0', '--tls-port', String(port), '--tls-cert-file', tls.cert, '--tls-key-file', tls.key, '--tls-ca-cert-file', tls.ca]
    : []
  const common = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--appendonly', 'no', '--dir', dir]
  const server = await startServer(owner, {
    command: 'redis-server',
    args: [...common, ...secure, ...args],
    isReady: (said) => /Ready to accept connections/.test(said),
  })
  const cli = async (...words: string[]): Promise<string> =>
    (await run('redis-cli', ['-p', String(port), '--no-auth-warning', ...cliArgs, ...words])).stdout.trim()
  return Object.defineProperties(
    { port, url: `redis${tls ? 's' : ''}://127.0.0.1:${port}`, cli },
    Object.getOwnPropertyDescriptors(server),
  ) as RedisServer
}
