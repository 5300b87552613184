/** The built `menagerie` command on a terminal of its own: Python's pty makes one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { ROOT } from './node.ts'

export interface Terminal {
  /** Everything that was shown, with its escape sequences. */
  said(): string
  /** Resolves when it is shown, from `since` on. */
  until(text: string | RegExp, since?: number): Promise<void>
  /** Presses keys. */
  press(keys: string): void
  /** Exit status. */
  readonly ended: Promise<number>
}

const PTY = 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))'
const SIZED = 'stty rows 24 cols 100; "$@"; status=$?; stty -a | grep -q -- "-icanon" && echo "the terminal is left raw"; exit $status'

/** It is closed with its owner. */
export function terminal(owner: Owner, dir: string, env: Record<string, string>, ...words: string[]): Terminal {
  const { NATS_URL: _url, NODE_TEST_CONTEXT: _test, NO_COLOR: _color, ...inherited } = process.env
  const command = ['sh', '-c', SIZED, 'sh', process.execPath, join(ROOT, 'dist', 'cli.js'), ...words]
  const child = spawn('python3', ['-c', PTY, ...command], { cwd: dir, env: { ...inherited, TERM: 'xterm', ...env } })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += String(data)))
  const exited = once(child, 'exit').then(([status]) => Number(status))
  atEnd(owner, async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL') // its terminal hangs up, and with it the command
    await within('the terminal is closed', exited)
  })
  const shown = (what: string | RegExp, since: number): boolean =>
    typeof what === 'string' ? text.includes(what, since) : what.test(text.slice(since))
  return {
    said: () => text,
    until: (what, since = 0) =>
      eventually(String(what), () => shown(what, since)).then(
        () => {},
        (error: unknown) => {
          throw new Error(`${String(what)} is not shown, but:\n${text}`, { cause: error })
        },
      ),
    press: (keys) => void child.stdin.write(keys),
    get ended() {
      return within('the command ends', exited)
    },
  }
}
