/** A server of a test and the processes that it has made. */
import { spawnSync } from 'node:child_process'

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

/** A user that a server may run as, if we are root: many refuse to run as that. */
export function unprivileged(): { name: string; uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (what: string): number => Number(spawnSync('id', [what, 'nobody'], { encoding: 'utf8' }).stdout)
  return { name: 'nobody', uid: id('-u'), gid: id('-g') }
}
