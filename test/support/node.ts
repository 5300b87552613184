/** The built node as a process of its own, with the project that it runs, and its log as events. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { within } from '../../src/testing/wait.ts'

/** A folder with cages/ and config/. */
export interface Project {
  readonly dir: string
  /** Saves a file, as an editor does. */
  write(file: string, text: string): void
  remove(file: string): void
}

/** One line of a node's log. */
export interface LogEntry {
  level: number
  msg: string
  [field: string]: unknown
}

export interface NodeProcess {
  readonly pid: number
  readonly log: LogEntry[]
  /** Everything on standard error. */
  readonly stderr: () => string
  /** Resolves with the first entry, from the start or `since` on, that `test` accepts; rejects if the node ends before. */
  until(what: string, test: (entry: LogEntry) => boolean, options?: { since?: number; limitMs?: number }): Promise<LogEntry>
  /** Resolves when all its cages serve. */
  readonly ready: Promise<void>
  /** Exit status; null if a signal ended it. */
  readonly exited: Promise<number | null>
  /** Whether it has ended. */
  readonly hasExited: () => boolean
  /** Whether SIGSTOP has stopped it. */
  readonly isStopped: () => boolean
  /** SIGTERM, and its exit status. */
  stop(): Promise<number | null>
  kill(signal: NodeJS.Signals): void
}

/** The root of the repository. */
export const ROOT: string = resolve(import.meta.dirname, '..', '..')

/** Makes a project; it goes with its owner. */
export function project(owner: Owner, files: Record<string, string>): Project {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-project-'))
  atEnd(owner, () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }))
  const write = (file: string, text: string): void => {
    mkdirSync(dirname(join(dir, file)), { recursive: true })
    writeFileSync(join(dir, file), text)
  }
  for (const [file, text] of Object.entries(files)) write(file, text)
  return { dir, write, remove: (file) => rmSync(join(dir, file)) }
}

/** Starts `node dist/node.js` with these words in a folder; it ends with its owner. */
export function startNode(owner: Owner, cwd: string, words: string[], env: NodeJS.ProcessEnv = {}): NodeProcess {
  const cages = words.filter((_, i) => words[i - 1] === '--cage')
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'node.js'), ...words], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...withoutNats(process.env), ...env },
  })
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  const log: LogEntry[] = []
  const listeners = new Set<(entry: LogEntry) => void>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const entry = parseEntry(line)
    log.push(entry)
    for (const listener of listeners) listener(entry)
  })
  let stderr = ''
  child.stderr.on('data', (data) => (stderr += String(data)))
  atEnd(owner, async () => {
    await end(child, exited)
  })
  const node: NodeProcess = {
    pid: child.pid ?? 0,
    log,
    stderr: () => stderr,
    until,
    exited,
    hasExited: () => child.exitCode !== null || child.signalCode !== null,
    isStopped: () => / [tT] /.test(readFileSync(`/proc/${child.pid}/stat`, 'utf8')), // proc(5)
    kill: (signal) => void child.kill(signal),
    stop: () => end(child, exited),
    ready: Promise.resolve(),
  }
  const ready = Promise.all(
    cages.map((cage) => until(`cage ${cage} is ready`, (entry) => entry.msg === 'cage is ready' && entry.cage === cage)),
  ).then(() => {})
  ready.catch(() => {}) // only for who waits for it
  return { ...node, ready }

  async function until(
    what: string,
    test: (entry: LogEntry) => boolean,
    { since = 0, limitMs }: { since?: number; limitMs?: number } = {},
  ): Promise<LogEntry> {
    let listener: ((entry: LogEntry) => void) | undefined
    const found = new Promise<LogEntry>((resolve, reject) => {
      const earlier = log.slice(since).find(test)
      if (earlier) return resolve(earlier)
      listener = (entry) => test(entry) && resolve(entry)
      listeners.add(listener)
      void exited.then((status) => reject(new Error(`the node ended with status ${status}`)))
    })
    try {
      return await within(what, found, limitMs)
    } catch (error) {
      throw new Error(`${what}; the node said:\n${log.map((entry) => JSON.stringify(entry)).join('\n')}\n${stderr}`, { cause: error })
    } finally {
      if (listener) listeners.delete(listener)
    }
  }
}

async function end(child: ChildProcess, exited: Promise<number | null>): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
  try {
    return await within('the node ends', exited)
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
}

function withoutNats(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NATS_URL: _url, NODE_TEST_CONTEXT: _test, ...rest } = env
  return rest
}

function parseEntry(line: string): LogEntry {
  try {
    return JSON.parse(line) as LogEntry
  } catch {
    return { level: 0, msg: line }
  }
}
