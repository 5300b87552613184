/** The built `menagerie` command as a process of its own. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { ROOT } from './node.ts'

export interface Ended {
  status: number
  stdout: string
  stderr: string
}

/** A command line in a folder, to its end: `await run('queue', 'ls')`. */
export function cli(dir: string, env: Record<string, string> = {}): (...words: string[]) => Promise<Ended> {
  const { NATS_URL: _url, NODE_TEST_CONTEXT: _test, ...inherited } = process.env
  return (...words) =>
    new Promise((resolve, reject) => {
      const options = { cwd: dir, env: { ...inherited, ...env }, timeout: 60_000 }
      const child = execFile(process.execPath, [join(ROOT, 'dist', 'cli.js'), ...words], options, (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number') reject(error)
        else resolve({ status: Number(error?.code ?? 0), stdout, stderr })
      })
      child.stdin?.end()
    })
}

/** A command line that runs on: what it says, until it is interrupted. It ends with its owner. */
export function running(owner: Owner, dir: string, env: Record<string, string>, ...words: string[]): Running {
  const { NATS_URL: _url, NODE_TEST_CONTEXT: _test, ...inherited } = process.env
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'cli.js'), ...words], { cwd: dir, env: { ...inherited, ...env } })
  const exited = once(child, 'exit')
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += String(data)))
  const stop = async (): Promise<number | null> => {
    child.kill('SIGINT')
    const [status] = await within('the command ends', exited)
    return status as number | null
  }
  atEnd(owner, async () => void (await stop()))
  return { stop, said: () => said, until: async (text) => void (await eventually(text, () => said.includes(text))) }
}

export interface Running {
  /** Everything that it has said. */
  said(): string
  /** Resolves when it has said so. */
  until(text: string): Promise<void>
  /** SIGINT; its exit status. */
  stop(): Promise<number | null>
}

/** The documents of a `--json`, one a line. */
export function documents<T = Record<string, unknown>>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}
