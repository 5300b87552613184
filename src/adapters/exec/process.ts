/**
 * Process: one run of a command, with everything that it starts in its process group.
 * P1. It ends within its scope: at the deadline, or when nobody wants it any more, the group gets SIGTERM, and SIGKILL after the grace. The
 *     run rejects when it has ended.
 * P2. What it leaves running in its group when it ends by itself is killed. What has left the group (setsid) is out of reach.
 * P3. Of its output no more than the limits is kept: more ends it as P1 does, with PAYLOAD_TOO_LARGE.
 * P4. It need not read what it is sent.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { CageError } from '../../errors.ts'
import { whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { fromSpawn } from './errors.ts'

/** Everything that a run needs to know. */
export interface Run {
  /** Resource and command, for messages. */
  readonly what: string
  readonly file: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string | undefined
  readonly stdin: Uint8Array
  readonly maxStdoutBytes: number
  readonly maxStderrBytes: number
  readonly graceMs: number
  /** Hears the group's number when it runs, and 0 when it has ended. */
  readonly onGroup: (group: number) => void
}

export interface Ended {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: Buffer
  stderr: Buffer
}

/** After SIGKILL; what waits in the kernel for longer is given up, ms. */
const KILLED_MS = 1_000

/** Runs to the end. CageErrors of errors.ts, DEADLINE_EXCEEDED, CANCELLED, PAYLOAD_TOO_LARGE. */
export async function run(given: Run, scope: Scope): Promise<Ended> {
  const child = start(given)
  if (child.pid === undefined) throw fromSpawn(await new Promise((resolve) => child.once('error', resolve)), given.what)
  given.onGroup(child.pid)
  const running = new Running(child, child.pid, given.graceMs)
  const off = whenEnded(scope, given.what, (why) => running.end(why))
  const stdout = running.collect(child.stdout, given.maxStdoutBytes, `${given.what} writes more to stdout`)
  const stderr = running.collect(child.stderr, given.maxStderrBytes, `${given.what} writes more to stderr`)
  child.stdin.on('error', () => {}) // P4
  child.stdin.end(given.stdin)
  const [status, signal] = await running.ended
  off()
  given.onGroup(0)
  if (running.why) throw running.why
  return { status, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) }
}

function start({ file, args, env, cwd, what }: Run): ChildProcessWithoutNullStreams {
  try {
    return spawn(file, args, { env, cwd, detached: true, stdio: 'pipe' })
  } catch (error) {
    throw fromSpawn(error, what)
  }
}

type Exit = [status: number | null, signal: NodeJS.Signals | null]

class Running {
  readonly ended: Promise<Exit>
  /** Why it was ended, if it was. */
  why: CageError | undefined
  readonly #child: ChildProcessWithoutNullStreams
  readonly #group: number
  readonly #graceMs: number
  #timer: NodeJS.Timeout | undefined
  #exit: Exit = [null, null]
  #resolve: (exit: Exit) => void = () => {}

  constructor(child: ChildProcessWithoutNullStreams, group: number, graceMs: number) {
    this.#child = child
    this.#group = group
    this.#graceMs = graceMs
    this.ended = new Promise((resolve) => (this.#resolve = resolve))
    child.once('exit', (...exit) => this.#exited(exit))
    child.once('close', () => this.#over())
  }

  /** P1. The first reason counts. */
  end(why: CageError): void {
    if (this.why) return
    this.why = why
    this.#signal('SIGTERM')
    this.#in(this.#graceMs, () => {
      this.#signal('SIGKILL')
      this.#closeOutputs()
      this.#in(KILLED_MS, () => this.#over())
    })
  }

  /** P3. The chunks that come. */
  collect(output: Readable, limit: number, tooMuch: string): Buffer[] {
    const chunks: Buffer[] = []
    let bytes = 0
    output.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > limit) this.end(new CageError('PAYLOAD_TOO_LARGE', `${tooMuch} than ${limit} bytes`))
      else chunks.push(chunk)
    })
    return chunks
  }

  #exited(exit: Exit): void {
    this.#exit = exit
    if (this.why) return // its children have their grace too
    this.#signal('SIGKILL') // P2
    this.#in(this.#graceMs, () => this.#closeOutputs())
  }

  #over(): void {
    clearTimeout(this.#timer)
    this.#signal('SIGKILL') // P2
    this.#resolve(this.#exit)
  }

  /** Whoever has left the group may hold them open. */
  #closeOutputs(): void {
    this.#child.stdout.destroy()
    this.#child.stderr.destroy()
  }

  #in(ms: number, act: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(act, ms)
  }

  #signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.#group, signal)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException // kill(2)
      if (code !== 'ESRCH' && code !== 'EPERM') throw error // nobody is left in it, or only such as have changed their user
    }
  }
}
