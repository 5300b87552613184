/** Interactive: Node's own REPL on the bus, for `menagerie repl`. A line that looks like a call is one, anything else is JavaScript. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type REPLServer, Recoverable, start } from 'node:repl'
import { PassThrough } from 'node:stream'
import { inspect, promisify, types } from 'node:util'
import { adminOf } from '../actors/admin.ts'
import { cagesProxy } from '../actors/proxies.ts'
import type { Bus } from '../bus/bus.ts'
import { CageError } from '../errors.ts'
import { namesOn } from './completion.ts'
import { completeName, readCall } from './line.ts'
import { note, paint, plain, print, printJson } from './output.ts'
import { readDuration, readTarget, showDuration } from './values.ts'

type Callback = (error: Error | null, result: unknown) => void

/** How long the names of what runs are taken for true. */
const NAMES_MS = 5_000

/** A failure that is shown in a line, as a result. */
class Refusal {
  readonly error: CageError
  constructor(error: CageError) {
    this.error = error
  }
}

export class Session {
  readonly #bus: Bus
  readonly #json: boolean
  readonly #onTerminal = process.stdin.isTTY && process.stdout.isTTY
  #timeoutMs: number
  #names: { at: number; found: Promise<string[]> } | undefined

  constructor(bus: Bus, timeoutMs: number, json: boolean) {
    this.#bus = bus
    this.#timeoutMs = timeoutMs
    this.#json = json
  }

  /** Until its user has enough; returns the exit status. */
  async run(help: string): Promise<number> {
    if (!this.#onTerminal || this.#json) return this.#readAll()
    note(`${help}\n.help tells the commands, Ctrl-D ends it`)
    const server = start({
      prompt: 'menagerie> ',
      useColors: !process.env.NO_COLOR,
      writer: (value) => this.#write(value),
      ignoreUndefined: true,
      preview: false, // what is being written is run by nobody
    })
    const evaluate = this.#evaluator(server)
    // their types are read-only; Node's documentation says that they may be replaced
    Object.assign(server, {
      eval: (code: string, context: object, file: string, done: Callback): void => {
        evaluate(code, context, file).then(
          (result) => done(null, result),
          (error: unknown) => {
            if (error instanceof CageError) done(null, new Refusal(error))
            else done(types.isNativeError(error) ? error : new Error(String(error)), undefined)
          },
        )
      },
    })
    this.#prepare(server)
    await this.#keepHistory(server)
    const ended = new Promise<void>((resolve) => server.once('exit', resolve))
    await Promise.race([ended, this.#bus.done])
    return 0
  }

  /** Without a terminal: line by line, each once the one before has ended. */
  async #readAll(): Promise<number> {
    const silent = { input: new PassThrough(), output: new PassThrough() }
    // Node tells what a script throws by its writer alone: whoever waits for the script's end would wait for ever
    let refuse: (thrown: unknown) => void = () => {}
    const writer = (thrown: unknown): string => {
      refuse(thrown)
      return ''
    }
    const server = start({ ...silent, prompt: '', terminal: false, writer })
    const evaluator = this.#evaluator(server)
    const evaluate = (line: string): Promise<unknown> =>
      new Promise((resolve, reject) => {
        refuse = reject
        evaluator(line, server.context, 'repl').then(resolve, reject)
      })
    let failed = false
    let code = ''
    for await (const line of createInterface({ input: process.stdin })) {
      code += `${line}\n`
      if (code.trim() === '') continue
      try {
        const result = await evaluate(code)
        code = ''
        if (this.#json) printJson(result)
        else if (result !== undefined) print(this.#write(result))
      } catch (error) {
        if (error instanceof Recoverable) continue // the next line goes on with it
        code = ''
        failed = true
        if (this.#json)
          printJson({ error: error instanceof CageError ? error : { message: types.isNativeError(error) ? error.message : String(error) } })
        else note(this.#write(error))
      }
    }
    server.close()
    if (code.trim() !== '') note('menagerie: the last line is not complete')
    return failed || code.trim() !== '' ? 1 : 0
  }

  /** What a line does, on the names that there are. */
  #evaluator(server: REPLServer): (code: string, context: object, file: string) => Promise<unknown> {
    const call = (cage: string, module: string, method: string, args: unknown[]): Promise<unknown> =>
      this.#bus.call(cage, module, method, args, { deadline: Date.now() + this.#timeoutMs, request: { id: '' } })
    Object.assign(server.context, {
      cages: cagesProxy(call),
      admin: adminOf(this.#bus),
      call: async (target: string, args: unknown[] = []) => {
        const { cage, module, method } = readTarget(target)
        return call(cage, module, method, args)
      },
    })
    const javaScript = promisify(server.eval.bind(server)) as (code: string, context: object, file: string) => Promise<unknown>
    return async (code, context, file) => {
      const line = readLine(code, context)
      if (!line) return javaScript(code, context, file)
      const { target, args } = line
      return call(target.cage, target.module, target.method, args)
    }
  }

  #prepare(server: REPLServer): void {
    const completeJavaScript = server.completer
    Object.assign(server, {
      completer: (line: string, done: (error?: Error | null, result?: [string[], string]) => void): void => {
        const others = (): void => completeJavaScript.call(server, line, done)
        if (line.startsWith('.')) return others()
        this.#known().then((names) => {
          const found = completeName(line, names)
          if (found) done(null, found)
          else others()
        }, others)
      },
    })
    server.defineCommand('ls', {
      help: 'What runs: cage.module.method',
      action: () => {
        this.#names = undefined
        void this.#known().then((names) => {
          for (const name of names) server.output.write(`${name}\n`)
          server.displayPrompt()
        })
      },
    })
    server.defineCommand('timeout', {
      help: 'How long to wait for an answer: .timeout 30s',
      action: (text) => {
        try {
          this.#timeoutMs = readDuration(text.trim())
          server.output.write(`${showDuration(this.#timeoutMs)}\n`)
        } catch (error) {
          server.output.write(`${error instanceof Error ? error.message : error}\n`)
        }
        server.displayPrompt()
      },
    })
  }

  #write(value: unknown): string {
    if (value instanceof Refusal) return paint(plain(`${value.error.code}: ${value.error.message}`), 'red')
    if (types.isNativeError(value) && !this.#onTerminal)
      return plain(value instanceof CageError ? `${value.code}: ${value.message}` : `${value.name}: ${value.message}`)
    return inspect(value, { colors: this.#onTerminal && !process.env.NO_COLOR, depth: 6 })
  }

  /** Every method that can be called now. */
  #known(): Promise<string[]> {
    const now = Date.now()
    if (!this.#names || now - this.#names.at > NAMES_MS) this.#names = { at: now, found: namesOn(this.#bus, 'method') }
    return this.#names.found
  }

  async #keepHistory(server: REPLServer): Promise<void> {
    const file = process.env.MENAGERIE_HISTORY ?? join(homedir(), '.menagerie_history')
    if (file === '') return
    await new Promise<void>((resolve) =>
      server.setupHistory(file, (error) => {
        if (error) note(`menagerie: ${file} cannot be kept: ${error.message}`)
        resolve()
      }),
    )
  }
}

/** A mistake in a call's words is the line's, not the program's. */
function readLine(code: string, context: object): ReturnType<typeof readCall> {
  try {
    return readCall(code.replace(/\n$/, ''), (name) => name in context)
  } catch (error) {
    throw new CageError('INVALID_ARGUMENT', error instanceof Error ? error.message : String(error))
  }
}
