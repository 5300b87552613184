/**
 * Options of commands. docs/adapters/exec.md explains each.
 *
 *   resources: {
 *     tools: {
 *       kind: 'exec',
 *       commands: {
 *         text: { file: 'pdftotext', args: ['-q'], encoding: 'utf8' },
 *         digest: { shell: 'sha256sum | cut -d " " -f 1' },
 *       },
 *     },
 *   }
 */
import { z } from 'zod'

/** Checked and complete. */
export interface ExecOptions {
  /** What may be run, by name; nothing else is. */
  commands: Record<string, CommandOptions>
  /** From SIGTERM to SIGKILL, ms. */
  graceMs: number
}

export interface CommandOptions {
  /** A program: its path, or its name in PATH. */
  file?: string | undefined
  /** Instead of a program: a line for /bin/sh, to which the caller's arguments are "$1", "$2" ... */
  shell?: string | undefined
  /** Before the caller's. */
  args: string[]
  /** Whether a caller may add arguments. */
  callerArgs: boolean
  cwd?: string | undefined
  env: Record<string, string>
  /** Variables that a caller may set. */
  callerEnv: string[]
  /** What stdout and stderr are told as. */
  encoding: 'utf8' | 'latin1' | 'bytes'
  maxStdinBytes: number
  maxStdoutBytes: number
  maxStderrBytes: number
}

const word = z.string().refine((text) => !text.includes('\0'), { error: 'holds a zero byte' })
const variable = z.string().regex(/^[A-Za-z_]\w*$/, 'is no name of a variable')
const bytes = z.number().int().nonnegative()

const command = z
  .strictObject({
    file: word.min(1).optional(),
    shell: word.min(1).optional(),
    args: z.array(word).default([]),
    callerArgs: z.boolean().default(true),
    cwd: word.min(1).optional(),
    env: z.record(variable, word).default({}),
    callerEnv: z.array(variable).default([]),
    encoding: z.enum(['utf8', 'latin1', 'bytes']).default('utf8'),
    maxStdinBytes: bytes.default(1_000_000),
    maxStdoutBytes: bytes.default(1_000_000),
    maxStderrBytes: bytes.default(100_000),
  })
  .refine(({ file, shell }) => (file === undefined) !== (shell === undefined), { error: 'either file or shell is needed' })

export const execOptions: z.ZodType<ExecOptions> = z.strictObject({
  commands: z
    .record(z.string().min(1), command)
    .refine((commands) => Object.keys(commands).length > 0, { error: 'a command is needed, there is nothing to run' }),
  graceMs: z.number().int().nonnegative().max(60_000).default(1_000),
})
