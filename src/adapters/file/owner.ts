/**
 * Owner: the process that has claimed a file, as a name that tells others whether it still lives.
 * O1. A process of this machine lives as long as its number and start say so: one that hangs keeps what it has.
 * O2. One of another machine, or of another container, is taken for dead when it has not touched its folder for FOREIGN_MS.
 */
import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** How often an owner touches its folder, ms. */
export const TOUCH_MS = 10_000
const FOREIGN_MS = 60_000

/** Of this process, for one of its interfaces. */
export function ownerName(cage: string, name: string): string {
  return [world(), process.pid, startOf(process.pid), `${cage}.${name}`].join('~')
}

/** `touchedAt`: when it touched its folder last, epoch ms. */
export function isAlive(owner: string, touchedAt: number, now: number): boolean {
  const [where, pid, start] = owner.split('~')
  if (where !== world()) return now - touchedAt < FOREIGN_MS // O2
  return startOf(Number(pid)) === start // O1
}

let known: string | undefined

/** Where process numbers mean what they mean here: this start of this machine, this container. */
function world(): string {
  known ??= createHash('sha256').update(readWorld()).digest('hex').slice(0, 12)
  return known
}

function readWorld(): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')} ${readlinkSync('/proc/self/ns/pid')}` // proc(5)
  } catch {
    return hostname() // elsewhere than on Linux
  }
}

/** When it was started, in ticks since the machine was; undefined if there is no such process. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] // proc(5): the 22nd field; the second may hold anything
  } catch {
    return process.platform === 'linux' || !isThere(pid) ? undefined : 'unknown'
  }
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
