/**
 * Log levels: of a cage and of its modules, changed while they run (`menagerie log`), and as they were after a while.
 * E1. A change outlives reloads and reconfiguration, because it belongs to the copy. The module's own goes before that of the cage.
 * E2. What begins after a change is logged by it; a call that has its log already goes on with that.
 */
import type { LogChange } from '../bus/survey/contract.ts'
import type { LogLevel } from '../levels.ts'
import type { Log } from '../log.ts'
import { LONGEST_TIMER_MS } from '../pause.ts'

interface Change {
  level: LogLevel
  timer: NodeJS.Timeout
}

export class LogLevels {
  readonly #root: Log
  readonly #configured: string
  /** Logs whose levels are ours, with the module that each is of. */
  readonly #logs = new Set<{ log: WeakRef<Log>; module: string | undefined }>()
  /** By module; undefined: of the cage. */
  readonly #changes = new Map<string | undefined, Change>()

  constructor(root: Log) {
    this.#root = root
    this.#configured = root.level
  }

  /** A log of the cage's, with more fields. */
  child(fields: object, module?: string): Log {
    const log = this.#root.child(fields)
    log.level = this.#levelOf(module)
    this.#logs.add({ log: new WeakRef(log), module })
    return log
  }

  /** What is in place of the cage's log where children are made of it that outlive a call. */
  get root(): Log {
    return Object.assign(Object.create(this.#root) as Log, { child: (fields: object) => this.child(fields) })
  }

  /** The caller has seen to it that the module is here. Without module and level, all is as configured again. */
  set({ module, level, forMs }: Omit<LogChange, 'cage'>): void {
    if (module === undefined && level === undefined) this.close()
    this.#change(module, level, forMs)
  }

  #change(module: string | undefined, level: LogLevel | undefined, forMs: number): void {
    clearTimeout(this.#changes.get(module)?.timer)
    this.#changes.delete(module)
    if (level !== undefined) {
      const timer = setTimeout(() => this.#change(module, undefined, 0), Math.min(Math.max(0, forMs), LONGEST_TIMER_MS)).unref()
      this.#changes.set(module, { level, timer })
    }
    const what = module === undefined ? {} : { module }
    this.#root.level = this.#levelOf(undefined)
    for (const known of this.#logs) {
      const log = known.log.deref()
      if (!log) this.#logs.delete(known)
      else log.level = this.#levelOf(known.module)
    }
    const now = this.#levelOf(module)
    this.#root.info({ ...what, logLevel: now, forMs: level === undefined ? undefined : forMs }, 'log level is another one')
  }

  /** Nothing is changed any more. */
  close(): void {
    for (const { timer } of this.#changes.values()) clearTimeout(timer)
    this.#changes.clear()
  }

  /** E1. */
  #levelOf(module: string | undefined): string {
    const own = module === undefined ? undefined : this.#changes.get(module)
    return (own ?? this.#changes.get(undefined))?.level ?? this.#configured
  }
}
