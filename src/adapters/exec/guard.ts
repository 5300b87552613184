/**
 * Guard: a small process that ends a command whose node has died, be it by kill -9.
 * G1. It holds the end of a pipe whose other end only we have; when that closes, it ends the group that it was told last, SIGTERM first.
 * G2. It knows one group at a time: a connection runs one command at a time. It learns it when the command has been started: a node that
 *     is killed in that very moment leaves the command behind.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Writable } from 'node:stream'

/** `0`: nothing runs. A group's number is not used again while the group has a process; the node has been told when it has none. */
const SCRIPT = `
while read -r line; do group=$line; done
[ "\${group:-0}" -gt 0 ] || exit 0
kill -TERM "-$group" 2>/dev/null || exit 0
sleep "$1"
kill -KILL "-$group" 2>/dev/null
exit 0`

export class Guard {
  readonly #child: ChildProcessByStdio<Writable, null, null>
  readonly #ended: Promise<void>

  constructor(graceMs: number) {
    const words = ['-c', SCRIPT, 'guard', String(graceMs / 1_000)]
    this.#child = spawn('/bin/sh', words, { detached: true, stdio: ['pipe', 'ignore', 'ignore'], env: { PATH: '/usr/bin:/bin' } })
    this.#child.stdin.on('error', () => {}) // it has been killed by somebody: the command has no guard then, and is run all the same
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', () => resolve())
      this.#child.once('exit', () => resolve())
    })
  }

  /** From now on it guards this group; 0: none. */
  watch(group: number): void {
    this.#child.stdin.write(`${group}\n`)
  }

  async close(): Promise<void> {
    this.#child.stdin.end('0\n')
    await this.#ended
  }
}
