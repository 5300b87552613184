/**
 * What must be there before anything of ours runs: dependencies, the build, the real servers. Only Node's own modules.
 * Each step says a line when it has something to do, and is silent and quick when it has not.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findMongoRunner, installMongoRunner } from './mongodb.js'
import { find, findNatsServer, install, installNatsServer } from './nats-server.js'
import { findPostgres, installPostgres } from './postgres.js'

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const DATA = join(ROOT, '.menagerie')

/** Dependencies as the lock file has them. */
export function ensureDependencies(folder = ROOT) {
  const stamp = join(folder, 'node_modules', '.lock')
  const wanted = digest([readFileSync(join(folder, 'package-lock.json'))])
  if (isCurrent(stamp, wanted)) return
  checkNode()
  say('installing dependencies')
  run('npm', ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], folder)
  writeFileSync(stamp, wanted)
}

/** `dist` as the sources have it; `clean` begins with nothing. */
export function ensureBuild({ clean = false } = {}) {
  const stamp = join(ROOT, 'dist', '.stamp')
  const files = ['tsconfig.json', 'src', 'package-lock.json'].flatMap(filesUnder)
  const wanted = digest(files.map((file) => `${file} ${statSync(file).mtimeMs} ${statSync(file).size}\n`))
  if (!clean && isCurrent(stamp, wanted)) return
  say('building')
  if (clean) rmSync(join(ROOT, 'dist'), { recursive: true, force: true })
  run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', join('src', 'tsconfig.json')])
  writeFileSync(stamp, wanted)
}

/** The bus. */
export async function ensureNatsServer() {
  if (findNatsServer(DATA) === undefined) await installNatsServer(DATA, say)
}

export async function ensurePostgres() {
  if (findPostgres(DATA) === undefined) await installPostgres(DATA, say)
}

/** What the tests call our interfaces with, and what our resources call: a command or a file of it → Debian's packages. */
const PEERS = {
  curl: ['curl'],
  openssl: ['openssl'],
  python3: ['python3'],
  socat: ['socat'],
  nc: ['netcat-openbsd'],
  dovecot: ['dovecot-imapd', 'dovecot-pop3d'],
  postfix: ['postfix'],
  chromium: ['chromium'],
  javac: ['default-jdk-headless'],
  '/usr/share/activemq/bin/activemq.jar': ['activemq'],
  '/usr/lib/rabbitmq/bin/rabbitmq-server': ['rabbitmq-server'],
  bearerbox: ['kannel'],
  '/usr/share/perl5/Net/SMPP.pm': ['libnet-smpp-perl'],
  mariadbd: ['mariadb-server'],
  'redis-server': ['redis-server'],
}

export async function ensureTestPeers() {
  const missing = Object.keys(PEERS).filter((peer) => (isAbsolute(peer) ? !existsSync(peer) : find(peer, []) === undefined))
  const packages = missing.flatMap((peer) => PEERS[peer])
  if (packages.length > 0) {
    if (process.getuid?.() !== 0) throw new Error(`the tests need ${missing.join(', ')}: apt-get install ${packages.join(' ')}`)
    await install(packages, say)
  }
  await ensurePostgres()
  if (findMongoRunner(DATA) === undefined) await installMongoRunner(DATA, say)
}

/** Runs a command in the foreground; ends this process with its status if it fails. */
export function run(command, words, cwd = ROOT) {
  const { status, error } = spawnSync(command, words, { cwd, stdio: 'inherit', shell: process.platform === 'win32' && command === 'npm' })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

/** Runs `main`, and turns what it throws into one clear message. */
export async function step(main) {
  try {
    await main()
  } catch (error) {
    process.stderr.write(`menagerie: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exit(1)
  }
}

function say(line) {
  process.stdout.write(`· ${line}\n`)
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  throw new Error(`Node.js ${process.versions.node} is too old: 20.19 or newer is needed`)
}

function filesUnder(name) {
  const path = join(ROOT, name)
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

function isCurrent(stamp, wanted) {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted
}

function digest(parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}
