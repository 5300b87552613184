/**
 * Requests: what we have asked a peer and it has not answered. Each has a number of its own, and an end: its answer, the time, or the session's end.
 */
import { CageError } from '../../errors.ts'
import { encode, type Fields, type Pdu } from './pdu.ts'

const HIGHEST_SEQUENCE = 0x7fffffff // 3.2, sequence_number

interface Unanswered {
  readonly timer: NodeJS.Timeout
  settle(answer: Pdu | CageError): void
}

export class Requests {
  readonly #name: string
  readonly #timeoutMs: number
  readonly #unanswered = new Map<number, Unanswered>()
  #sequence = 0

  /** `name`: for messages, whose. */
  constructor(name: string, timeoutMs: number) {
    this.#name = name
    this.#timeoutMs = timeoutMs
  }

  /** Registers a request, and returns its octets. `settle` is called once, with the answer or what came instead. Throws INVALID_ARGUMENT, as encode does. */
  add(command: string, fields: Fields, settle: (answer: Pdu | CageError) => void): Buffer {
    do this.#sequence = this.#sequence >= HIGHEST_SEQUENCE ? 1 : this.#sequence + 1
    while (this.#unanswered.has(this.#sequence)) // after two thousand million of them
    const sequence = this.#sequence
    const bytes = encode({ command, status: 0, sequence, fields })
    const late = (): void => {
      this.settle(
        sequence,
        sentError(new CageError('DEADLINE_EXCEEDED', `${this.#name}: ${command} was not answered within ${this.#timeoutMs} ms`)),
      )
    }
    this.#unanswered.set(sequence, { timer: setTimeout(late, this.#timeoutMs), settle })
    return bytes
  }

  /** Whether it is the answer to anything. */
  settle(sequence: number, answer: Pdu | CageError): boolean {
    const request = this.#unanswered.get(sequence)
    if (!request) return false
    this.#unanswered.delete(sequence)
    clearTimeout(request.timer)
    request.settle(answer)
    return true
  }

  /** There will be no answers. */
  fail(why: CageError): void {
    for (const sequence of [...this.#unanswered.keys()]) this.settle(sequence, sentError(why))
  }
}

/** The peer may have done it: `details.sent`. */
export function sentError({ code, message, retryable }: CageError): CageError {
  return new CageError(code, message, { retryable, details: { sent: true } })
}
