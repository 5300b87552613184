/**
 * Screen: a terminal's whole screen for a picture that is drawn again and again.
 * S1. However the command ends, the terminal is as it was: what stood there, its cursor, its keys.
 */
import type { ReadStream } from 'node:tty'

/** q, Ctrl-C, Ctrl-D. */
const GOES = ['q', '\x03', '\x04']
const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'

export class Screen {
  readonly #out = process.stdout
  readonly #keys: ReadStream | undefined = process.stdin.isTTY ? process.stdin : undefined
  #lines: string[] = []
  #open = true
  /** Resolves when somebody wants to go: q, Ctrl-C, SIGTERM. */
  readonly left: Promise<void>

  constructor() {
    this.left = new Promise((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
      this.#keys?.setRawMode(true)
      this.#keys?.on('data', (data) => {
        if ([...String(data)].some((key) => GOES.includes(key))) resolve()
      })
    })
    this.#out.write(ENTER)
    this.#out.on('resize', this.#draw)
    process.once('exit', this.#restore) // S1, also after an error that nobody caught
  }

  get rows(): number {
    return this.#out.rows
  }

  show(lines: string[]): void {
    this.#lines = lines
    this.#draw()
  }

  close(): void {
    this.#restore()
    this.#out.off('resize', this.#draw)
    this.#keys?.pause()
  }

  readonly #draw = (): void => {
    if (!this.#open) return
    const lines = this.#lines.slice(0, this.#out.rows)
    this.#out.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J`)
  }

  readonly #restore = (): void => {
    if (!this.#open) return
    this.#open = false
    this.#keys?.setRawMode(false)
    this.#out.write(LEAVE)
  }
}
