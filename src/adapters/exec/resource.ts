/**
 * Commands: programs of this machine, run by name with arguments, each in a process group of its own.
 *
 *   resources: { tools: { kind: 'exec', commands: { text: { file: 'pdftotext', args: ['-q'] } } } },
 *   const { status, stdout } = await ctx.resources.tools.run('text', ['-', '-'], { stdin: pdf })
 *
 * E1. Only commands of the configuration are run, without a shell unless the configuration has one: arguments are never parsed.
 * E2. A command sees the variables that are listed here and those of its configuration, not the node's: they may be secrets.
 * E3. Status and signal are results, not errors.
 * POSIX.1-2017, 2.12 (shell), kill (process groups).
 */
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { endOf } from '../../scope.ts'
import type { Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import type { RunResult } from './api.ts'
import { Guard } from './guard.ts'
import type { CommandOptions, ExecOptions } from './options.ts'
import { run } from './process.ts'

/** What every command sees of the node's environment. */
const PASSED_ON = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'TMPDIR']

export async function open(options: ExecOptions, { name }: ResourceHost): Promise<Resource> {
  return { connect: async () => new ExecConnection(options, name) }
}

class ExecConnection implements ResourceConnection {
  readonly participant = 'irreversible'
  readonly broken = false
  readonly #options: ExecOptions
  readonly #name: string
  readonly #guard: Guard

  constructor(options: ExecOptions, name: string) {
    this.#options = options
    this.#name = name
    this.#guard = new Guard(options.graceMs)
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    if (method !== 'run')
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: there is no method ${method}${didYouMean(method, ['run'])}`)
    const [name, given = [], options = {}] = args
    const command = this.#command(name)
    const what = `${this.#name}: command ${String(name)}`
    const words = argumentsOf(command, given, what)
    const { stdin, env } = inputOf(command, options, what)
    const ended = endOf(scope, Date.now(), what)
    if (ended) throw ended
    const { graceMs } = this.#options
    const { cwd, encoding, maxStdoutBytes, maxStderrBytes } = command
    const onGroup = (group: number): void => this.#guard.watch(group)
    const { status, signal, stdout, stderr } = await run(
      { what, ...words, env, cwd, stdin, maxStdoutBytes, maxStderrBytes, graceMs, onGroup },
      scope,
    )
    const told = (output: Buffer): string | Uint8Array => (encoding === 'bytes' ? output : output.toString(encoding))
    return { status, signal, stdout: told(stdout), stderr: told(stderr) } satisfies RunResult<string | Uint8Array>
  }

  async close(): Promise<void> {
    await this.#guard.close()
  }

  /** E1. */
  #command(name: unknown): CommandOptions {
    const { commands } = this.#options
    const command = typeof name === 'string' && Object.hasOwn(commands, name) ? commands[name] : undefined
    if (command) return command
    throw new CageError(
      'INVALID_ARGUMENT',
      `${this.#name}: there is no command ${String(name)}${didYouMean(String(name), Object.keys(commands))}`,
    )
  }
}

function argumentsOf({ file, shell, args, callerArgs }: CommandOptions, given: unknown, what: string): { file: string; args: string[] } {
  if (!Array.isArray(given) || !given.every((each): each is string => typeof each === 'string' && !each.includes('\0')))
    throw new CageError('INVALID_ARGUMENT', `${what}: its arguments are no list of texts without zero bytes`)
  if (given.length > 0 && !callerArgs) throw new CageError('INVALID_ARGUMENT', `${what}: it takes no arguments`)
  const words = [...args, ...given]
  if (file !== undefined) return { file, args: words }
  return { file: '/bin/sh', args: ['-c', shell ?? '', 'sh', ...words] } // one of both is there: options.ts
}

function inputOf(command: CommandOptions, options: unknown, what: string): { stdin: Uint8Array; env: NodeJS.ProcessEnv } {
  if (typeof options !== 'object' || options === null) throw new CageError('INVALID_ARGUMENT', `${what}: its options are no object`)
  const { stdin = '', env = {}, ...others } = options as Record<string, unknown>
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw new CageError('INVALID_ARGUMENT', `${what}: there is no option ${unknown}${didYouMean(unknown, ['stdin', 'env'])}`)
  if (typeof stdin !== 'string' && !(stdin instanceof Uint8Array))
    throw new CageError('INVALID_ARGUMENT', `${what}: its stdin is neither text nor bytes`)
  const bytes = typeof stdin === 'string' ? Buffer.from(stdin) : stdin
  if (bytes.length > command.maxStdinBytes)
    throw new CageError('PAYLOAD_TOO_LARGE', `${what}: its stdin has ${bytes.length} bytes, ${command.maxStdinBytes} are allowed`)
  return { stdin: bytes, env: { ...passedOn(), ...command.env, ...callerEnv(command, env, what) } }
}

/** E2. */
function passedOn(): NodeJS.ProcessEnv {
  return Object.fromEntries(PASSED_ON.flatMap((key) => (process.env[key] === undefined ? [] : [[key, process.env[key]]])))
}

function callerEnv(command: CommandOptions, env: unknown, what: string): Record<string, string> {
  if (typeof env !== 'object' || env === null) throw new CageError('INVALID_ARGUMENT', `${what}: its env is no object`)
  for (const [key, value] of Object.entries(env)) {
    if (!command.callerEnv.includes(key)) throw new CageError('INVALID_ARGUMENT', `${what}: a caller may not set ${key}`)
    if (typeof value !== 'string' || value.includes('\0'))
      throw new CageError('INVALID_ARGUMENT', `${what}: ${key} is no text without zero bytes`)
  }
  return env as Record<string, string> // as checked
}
