/** A server of somebody else's as a process of its own, on data and a port that it keeps when it is started again. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'

export interface ServerProcess {
  readonly pid: number
  /** What it has said. */
  said(): string
  /** SIGKILL: as in a crash. */
  kill(): Promise<void>
  /** Starts it again, if it does not run. */
  start(): Promise<void>
  /** It is there and does not answer. */
  freeze(): void
  thaw(): void
}

export interface ServerProcessOptions {
  command: string
  args: string[]
  /** Whether it serves, asked until it does. */
  isReady(said: string): Promise<boolean> | boolean
  cwd?: string
  uid?: number | undefined
  gid?: number | undefined
}

/** Starts it; it ends with its owner, by SIGKILL: nothing that a test has made needs to be kept. */
export async function startServer(owner: Owner, { command, args, isReady, ...rest }: ServerProcessOptions): Promise<ServerProcess> {
  let said = ''
  let running: ChildProcess | undefined
  const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null
  const server: ServerProcess = {
    get pid() {
      return running?.pid ?? 0
    },
    said: () => said,
    async kill() {
      const child = running
      running = undefined
      if (!child || hasEnded(child)) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await within(`${command} has ended`, exited)
    },
    async start() {
      if (running && !hasEnded(running)) return
      const { uid, gid, cwd } = rest
      const child = spawn(command, args, {
        ...(cwd === undefined ? {} : { cwd }),
        ...(uid === undefined ? {} : { uid }),
        ...(gid === undefined ? {} : { gid }),
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      running = child
      said = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += String(data)))
      const kill = (): void => void child.kill('SIGKILL')
      process.once('exit', kill)
      child.once('exit', () => process.off('exit', kill))
      await eventually(`${command} serves`, async () => {
        if (hasEnded(child)) throw new Error(`${command} has ended: ${said.slice(-1_000)}`)
        return await isReady(said)
      })
    },
    freeze: () => void running?.kill('SIGSTOP'),
    thaw: () => void running?.kill('SIGCONT'),
  }
  atEnd(owner, () => server.kill())
  await server.start()
  return server
}

/** Sends a signal to the process and all that descend from it, the youngest last. */
export function signalTree(pid: number, signal: NodeJS.Signals): void {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
  try {
    process.kill(pid, signal)
  } catch {
    return // it has ended meanwhile
  }
  for (const child of stdout.trim().split(/\s+/).filter(Boolean)) signalTree(Number(child), signal)
}

/** Whom a server runs as that refuses to run as root: the first of these users that there is; undefined if we are not root. */
export function unprivileged(...names: string[]): { name: string; uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const name = [...names, 'nobody'].find((known) => spawnSync('id', [known]).status === 0)
  if (name === undefined) throw new Error('there is not even a user nobody')
  const id = (what: string): number => Number(spawnSync('id', [what, name], { encoding: 'utf8' }).stdout)
  return { name, uid: id('-u'), gid: id('-g') }
}
