/**
 * Solo: lets a call run by itself that was in flight when its worker or process died, so that a second death is surely its own doing.
 * S1. Such calls run one after the other. Each waits for the calls of its module that run, and those that come meanwhile wait for it.
 * S2. Nobody waits longer for another than `PATIENCE_MS`: what ends a worker does so soon, and a slow call is to hold up nobody.
 */

const PATIENCE_MS = 5_000

interface Place {
  running: number
  /** Settles when the call that runs by itself has ended. */
  alone: Promise<unknown> | undefined
  onIdle: (() => void)[]
}

export class Solo {
  readonly #places = new Map<string, Place>()
  #line: Promise<unknown> = Promise.resolve()

  /** A call of the module begins now, if it need not wait for one that runs alone; then `leave` tells its end. */
  enter(module: string): boolean {
    const place = this.#placeOf(module)
    if (place.alone !== undefined) return false
    place.running++
    return true
  }

  leave(module: string): void {
    left(this.#placeOf(module))
  }

  /** Runs `work` for a module: with others, or alone. */
  run<T>(module: string, alone: boolean, work: () => Promise<T>): Promise<T> {
    const place = this.#placeOf(module)
    return alone ? this.#alone(place, work) : together(place, work)
  }

  #placeOf(module: string): Place {
    let place = this.#places.get(module)
    if (!place) {
      place = { running: 0, alone: undefined, onIdle: [] }
      this.#places.set(module, place)
    }
    return place
  }

  async #alone<T>(place: Place, work: () => Promise<T>): Promise<T> {
    const before = this.#line
    const done = before.then(async () => {
      place.alone = done.catch(() => {})
      try {
        if (place.running > 0) await atMost(PATIENCE_MS, new Promise<void>((resolve) => place.onIdle.push(resolve)))
        return await work()
      } finally {
        place.alone = undefined
      }
    })
    this.#line = before.then(() =>
      atMost(
        2 * PATIENCE_MS,
        done.catch(() => {}),
      ),
    ) // the next in line does not care how it ends
    return done
  }
}

async function together<T>(place: Place, work: () => Promise<T>): Promise<T> {
  if (place.alone !== undefined) await atMost(PATIENCE_MS, place.alone)
  place.running++
  try {
    return await work()
  } finally {
    left(place)
  }
}

function left(place: Place): void {
  if (--place.running === 0) for (const resolve of place.onIdle.splice(0)) resolve()
}

async function atMost(ms: number, event: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([event, late])
  clearTimeout(timer)
}
