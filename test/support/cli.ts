/** The built `menagerie` command as a process of its own. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
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

/** The documents of a `--json`, one a line. */
export function documents<T = Record<string, unknown>>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}
