/**
 * Window: how many requests may be without an answer. A place that is given back goes to who has waited longest.
 */
import type { CageError } from '../../errors.ts'
import { whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'

interface Waiter {
  settle(why?: CageError): void
}

export class Window {
  readonly #size: number
  readonly #waiting: Waiter[] = []
  #taken = 0

  constructor(size: number) {
    this.#size = size
  }

  /** Takes a place, if one is free. */
  take(): boolean {
    if (this.#taken >= this.#size) return false
    this.#taken++
    return true
  }

  /** Resolves when a place is ours; rejects when the scope ends, or with the reason of `refuse`. `what`: for the message. */
  turn(scope: Scope, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const off = whenEnded(scope, what, (why) => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(why)
      })
      const waiter: Waiter = {
        settle: (why) => {
          off()
          if (why) reject(why)
          else resolve()
        },
      }
      this.#waiting.push(waiter)
    })
  }

  /** Gives a place back, or on. */
  free(): void {
    const waiter = this.#waiting.shift()
    if (waiter) waiter.settle()
    else this.#taken--
  }

  /** Nobody gets a place any more. */
  refuse(why: CageError): void {
    for (const waiter of this.#waiting.splice(0)) waiter.settle(why)
  }
}
