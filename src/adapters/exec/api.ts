/** What a module sees of an exec resource. Types only; users import them from 'menagerie'. */

/** How a command is run. */
export interface RunOptions {
  /** Everything that it reads; text is sent as UTF-8. Default: nothing. */
  stdin?: string | Uint8Array
  /** Only variables that `callerEnv` names. */
  env?: Readonly<Record<string, string>>
}

/** How a command has ended. */
export interface RunResult<Output = string> {
  /** Its exit status; null if a signal has ended it. */
  status: number | null
  /** E.g. `SIGSEGV`; null if it has exited. */
  signal: string | null
  stdout: Output
  stderr: Output
}

/** Commands: `interface CageResources { tools: ExecResource<'text' | 'digest'> }`. */
export interface ExecResource<Name extends string = string> {
  /** Runs a command of the configuration to its end, whatever its status. `Output` is `Uint8Array` where its encoding is `bytes`. */
  run<Output = string>(command: Name, args?: readonly string[], options?: RunOptions): Promise<RunResult<Output>>
}
