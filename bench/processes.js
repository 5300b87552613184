/**
 * Every process that the benchmark starts.
 * P1. All of them are ended, by pid, when the benchmark ends: as planned, by an error or by a signal.
 * P2. One that ends by itself ends the benchmark: its figures would be worth nothing.
 */
import { fork, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const STOP_MS = 5_000

export const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** Everything that is written goes here; the nodes' working directory. */
export const TEMP = mkdtempSync(join(tmpdir(), 'menagerie-bench-'))

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set()

const folders = [TEMP]

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

/**
 * Has a folder deleted at the end.
 * @param {string} folder
 */
export function atExit(folder) {
  folders.push(folder)
}

/**
 * A nats-server of our own on loopback.
 * @param {string} program
 */
export async function startNatsServer(program) {
  const port = await freePort()
  const file = join(TEMP, 'nats.conf')
  // Moleculer tells all its actions in one message: 10,000 of them need more than the default of 1 MB
  writeFileSync(file, `listen: "127.0.0.1:${port}"\nmax_payload: 8MB\njetstream { store_dir: "${join(TEMP, 'nats')}" }\n`)
  const server = follow('nats-server', spawn(program, ['-c', file], { stdio: 'ignore' }))
  await listening(port)
  return { server, url: `nats://127.0.0.1:${port}` }
}

/** A Redis server of our own on loopback, as BullMQ's documentation asks for it: append-only file, written through every second. */
export async function startRedis() {
  const port = await freePort()
  const words = [
    '--bind',
    '127.0.0.1',
    '--port',
    String(port),
    '--dir',
    TEMP,
    '--save',
    '',
    '--appendonly',
    'yes',
    '--appendfsync',
    'everysec',
  ]
  const server = follow('redis-server', spawn('redis-server', [...words, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' }))
  await listening(port)
  return { server, url: `redis://127.0.0.1:${port}` }
}

/**
 * A node as users start it.
 * @param {string} cage
 * @param {string} url of the bus
 * @param {{ cagesDir?: string, env?: Record<string, string> }} [options]
 */
export function startNode(cage, url, { cagesDir = join(ROOT, 'bench', 'cages'), env = {} } = {}) {
  const words = ['--cage', cage, '--bus', url, '--cages', cagesDir, '--config', join(ROOT, 'bench', 'config'), '--log-level', 'warn']
  const node = spawn(process.execPath, [join(ROOT, 'dist', 'node.js'), ...words], {
    cwd: TEMP,
    env: { ...process.env, NODE_ENV: 'production', ...env },
    stdio: ['ignore', 2, 2], // warnings are worth seeing, and the table has standard output to itself
  })
  return follow(`node --cage ${cage}`, node)
}

/**
 * A role of a peer, in a process of its own; resolves once it is ready.
 * @param {string} peer a file of bench/peers
 * @param {'respond' | 'call' | 'front' | 'work' | 'enqueue'} role
 * @param {string} url of the bus
 * @param {object} [options] of the role
 */
export async function startPeer(peer, role, url, options = {}) {
  const child = forkPeer(peer, role, url, options)
  await message(child)
  return child
}

/** The same, without waiting. */
export function forkPeer(peer, role, url, options = {}) {
  const child = fork(join(ROOT, 'bench', 'peers', 'process.js'), [peer, role, url, JSON.stringify(options)], {
    cwd: TEMP,
    env: { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', 2, 2, 'ipc'],
  })
  return follow(`${peer} ${role}`, child)
}

/**
 * The next message of a peer's process.
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<unknown>}
 */
export function message(child) {
  return new Promise((resolve) => child.once('message', resolve))
}

/** @param {import('node:child_process').ChildProcess} child */
export async function stop(child) {
  if (!running.delete(child)) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  child.kill('SIGTERM')
  await exited
  clearTimeout(timer)
}

/** Ends all but `kept`. */
export async function stopAll(...kept) {
  await Promise.all([...running].filter((child) => !kept.includes(child)).map(stop))
}

/** @returns {Promise<number>} */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
      server.close(() => resolve(port))
    })
  })
}

/**
 * Waits until a port is listened on.
 * @param {number} port
 */
export async function listening(port) {
  await retry(
    () =>
      new Promise((resolve, reject) => {
        const socket = connectTcp(port, '127.0.0.1', () => resolve(socket.destroy()))
        socket.once('error', reject)
      }),
    `nothing listens on port ${port}`,
  )
}

/**
 * Tries until it works; rejects with `complaint` after `limitMs`.
 * @template T
 * @param {() => Promise<T>} attempt
 * @param {string} complaint
 * @returns {Promise<T>}
 */
export async function retry(attempt, complaint, limitMs = 15_000) {
  const end = performance.now() + limitMs
  for (;;) {
    try {
      return await attempt()
    } catch (cause) {
      if (performance.now() > end) throw new Error(`${complaint}, ${limitMs} ms`, { cause })
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
}

/**
 * Resident memory, MB; NaN where there is no /proc.
 * @param {number} pid
 */
export function residentMb(pid) {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024
  } catch {
    return Number.NaN
  }
}

/**
 * @template {import('node:child_process').ChildProcess} C
 * @param {string} name
 * @param {C} child
 * @returns {C}
 */
export function follow(name, child) {
  running.add(child)
  const ended = (reason) => {
    if (!running.delete(child)) return
    process.stderr.write(`bench: ${name} ended by itself: ${reason}\n`)
    process.exit(1)
  }
  child.once('error', (error) => ended(error.message))
  child.once('exit', (status, signal) => ended(signal ?? `status ${status}`))
  return child
}
