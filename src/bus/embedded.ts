/**
 * Embedded: the real nats-server on this machine, shared by all nodes here that name no other bus.
 * E1. A server that answers on the port is joined; else the first node starts one, under a lock, in a session of its own:
 *     no node's death or Ctrl-C takes the bus from the others.
 * E2. Every node watches the server. If it goes away, whoever takes the lock first starts it again on the same data.
 * E3. The last node to stop ends the server that nodes of this data directory started; a server of somebody else's is left alone.
 */
import { spawn } from 'node:child_process'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { CageError } from '../errors.ts'
import type { Log } from '../log.ts'

export interface EmbeddedOptions {
  /** Finds, or gets, the nats-server program. */
  binary: () => Promise<string>
  /** Of 127.0.0.1. */
  port: number
  /** Where the server keeps its data, and nodes what they know of each other. */
  dir: string
  log: Log
}

export interface Embedded {
  readonly url: string
  /** Leaves the server; ends it if nobody else is left (E3). */
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const POLL_MS = 20
/** A server that has to read much of its data back answers late. */
const START_MS = 60_000
/** The server greets at once (NATS client protocol, INFO). */
const GREETING_MS = 2_000

/** Joins or starts the server; rejects with UNAVAILABLE if neither can be. */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { dir, log, port } = options
  const files = {
    pid: join(dir, 'nats-server.pid'),
    log: join(dir, 'nats-server.log'),
    lock: join(dir, 'start.lock'),
    nodes: join(dir, 'nodes'),
  }
  const ours = join(files.nodes, String(process.pid))
  const stopping = new AbortController()
  await mkdir(files.nodes, { recursive: true })
  await writeFile(ours, '')
  try {
    await joinOrStart()
  } catch (error) {
    await rm(ours, { force: true })
    throw error
  }
  const watching = keep()
  return { url: `nats://${HOST}:${port}`, stop }

  /** E1. */
  async function joinOrStart(): Promise<void> {
    const giveUpAt = Date.now() + START_MS
    for (;;) {
      const answer = await ask(port)
      if (answer === 'nats') return
      if (answer === 'other')
        throw unavailable(
          `port ${port} of ${HOST} is taken by something that is not NATS: name a bus (--bus URL), or another port in config/node.ts (bus.embedded.port)`,
        )
      if (await takeLock(files.lock)) {
        try {
          if ((await ask(port)) === 'nobody') await start(giveUpAt)
        } finally {
          await rm(files.lock, { force: true })
        }
      } else if (Date.now() > giveUpAt)
        throw unavailable(`${files.lock} says that a server is being started, but none answers on port ${port}`)
      else await pause(POLL_MS)
    }
  }

  async function start(giveUpAt: number): Promise<void> {
    const running = await serverPid(files.pid)
    if (running !== undefined) {
      // it is ending, or serves another port: two servers must never share the data
      for (; (await serverPid(files.pid)) === running; await pause(POLL_MS)) {
        if (Date.now() > giveUpAt) throw unavailable(`nats-server ${running} holds ${dir}, but does not answer on port ${port}`)
        if ((await ask(port)) === 'nats') return
      }
    }
    const program = await options.binary()
    const storage = ['--jetstream', '--store_dir', join(dir, 'jetstream')]
    const logging = ['--pid', files.pid, '--log', files.log, '--log_size_limit', '10000000']
    const child = spawn(program, ['--addr', HOST, '--port', String(port), '--name', `menagerie-${port}`, ...storage, ...logging], {
      detached: true,
      stdio: 'ignore',
    })
    child.unref()
    let ended: string | undefined
    child.on('error', (error) => (ended = error.message))
    child.on('exit', (code, signal) => (ended = `it ended with ${signal ?? `status ${code}`}`))
    while ((await ask(port)) !== 'nats') {
      if (ended !== undefined) throw unavailable(`${program} cannot serve port ${port}: ${ended}${await lastErrors(files.log)}`)
      if (Date.now() > giveUpAt) throw unavailable(`${program} does not answer on port ${port}: see ${files.log}`)
      await pause(POLL_MS)
    }
    log.info({ pid: child.pid, port, dir }, 'nats-server started')
  }

  /** E2. */
  async function keep(): Promise<void> {
    while (!stopping.signal.aborted) {
      await untilGone(port, stopping.signal)
      if (stopping.signal.aborted) return
      try {
        await joinOrStart()
      } catch (error) {
        log.error({ err: error }, 'the bus server is gone and cannot be started, trying again')
        await pause(1_000, undefined, { signal: stopping.signal }).catch(() => {}) // aborted: the loop ends
      }
    }
  }

  async function stop(): Promise<void> {
    if (stopping.signal.aborted) return
    stopping.abort()
    await watching
    await rm(ours, { force: true })
    if ((await liveNodes(files.nodes)) > 0) return
    const pid = await serverPid(files.pid)
    if (pid === undefined) return
    process.kill(pid, 'SIGTERM')
    while (await serverPid(files.pid)) await pause(POLL_MS)
    log.info({ pid }, 'nats-server stopped')
  }
}

/** Who listens on the port. */
function ask(port: number): Promise<'nats' | 'other' | 'nobody'> {
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port })
    const settle = (answer: 'nats' | 'other' | 'nobody'): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(GREETING_MS, () => settle('other'))
    socket.once('data', (data) => settle(data.toString('latin1').startsWith('INFO ') ? 'nats' : 'other'))
    socket.once('end', () => settle('nobody')) // it is ending
    socket.once('error', () => settle('nobody'))
  })
}

/** Stays connected to the server as its plainest client; resolves when the connection ends. */
function untilGone(port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ host: HOST, port })
    socket.setNoDelay(true)
    socket.on('connect', () => socket.write('CONNECT {"verbose":false,"name":"menagerie watch"}\r\n'))
    socket.on('data', (data) => {
      if (data.includes('PING\r\n')) socket.write('PONG\r\n')
    })
    socket.on('error', () => {}) // 'close' follows
    const leave = (): void => void socket.destroy()
    signal.addEventListener('abort', leave, { once: true })
    socket.on('close', () => {
      signal.removeEventListener('abort', leave)
      resolve()
    })
    if (signal.aborted) leave()
  })
}

/** Takes the lock, or one whose holder has died; false while somebody alive holds it. */
async function takeLock(file: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx')
    await handle.writeFile(String(process.pid))
    await handle.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const holder = Number(await readFile(file, 'utf8').catch(() => ''))
  if (holder > 0 && !isAlive(holder))
    await rename(file, `${file}.${process.pid}`).then(
      () => rm(`${file}.${process.pid}`),
      () => {},
    ) // another one was faster
  return false
}

/** The server's process if it runs. */
async function serverPid(pidFile: string): Promise<number | undefined> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''))
  if (!(pid > 0) || !isAlive(pid)) return undefined
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'nats-server') // no /proc (macOS): believe the file
  return name.startsWith('nats-server') ? pid : undefined // else the number belongs to another process by now
}

async function liveNodes(folder: string): Promise<number> {
  const pids = (await readdir(folder)).map(Number)
  return pids.filter(isAlive).length
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' // it is there, but another user's
  }
}

/** What the server said last, for the error that a person reads. */
async function lastErrors(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const lines = text.split('\n').filter((line) => /\[(ERR|FTL)\]/.test(line))
  return lines.length === 0 ? '' : `: ${lines.slice(-2).join('; ')}`
}

function unavailable(message: string): CageError {
  return new CageError('UNAVAILABLE', message)
}
