/** A PostgreSQL server of the benchmark's own on loopback, with its defaults but for what is said here. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findPostgres } from '../scripts/postgres.js'
import { atExit, follow, freePort, listening } from './processes.js'

/** PostgreSQL refuses to run as root, so root starts it as somebody else. */
export async function startPostgres() {
  const bin = findPostgres('.menagerie')
  if (!bin) throw new Error('PostgreSQL is missing: npm test installs it')
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-bench-postgres-'))
  atExit(dir)
  const user = process.getuid?.() === 0 ? unprivileged() : {}
  if (user.uid !== undefined) chownSync(dir, user.uid, user.gid)
  const data = join(dir, 'data')
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'], {
    ...user,
    cwd: dir,
    stdio: 'ignore',
  })
  const port = await freePort()
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: dir,
    port,
    max_prepared_transactions: 300,
    max_connections: 200,
  }
  const words = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const server = follow('postgres', spawn(join(bin, 'postgres'), ['-D', data, ...words], { ...user, cwd: dir, stdio: 'ignore' }))
  await listening(port)
  return { server, url: `postgres://postgres@127.0.0.1:${port}/postgres` }
}

function unprivileged() {
  const name = ['postgres', 'nobody'].find((known) => spawnSync('id', [known]).status === 0)
  if (!name) throw new Error('there is neither a user postgres nor nobody')
  const id = (what) => Number(execFileSync('id', [what, name]).toString())
  return { uid: id('-u'), gid: id('-g') }
}
