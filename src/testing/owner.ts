/** Who ends what a test has started: a `TestContext`, or `suite` for a whole file. */
import { after } from 'node:test'

export interface Owner {
  after(end: () => Promise<void>): void
}

type End = () => Promise<void> | void

const suiteEnds: End[] = []
after(() => endAll(suiteEnds)) // here and now: a hook that is added inside another hook belongs to whatever test runs then

/** For what all tests of a file share. */
export const suite: Owner = { after: () => {} }

const ends = new WeakMap<Owner, End[]>([[suite, suiteEnds]])

/** Has `end` run when the owner is done, in the reverse order of the calls: what was started last is ended first. */
export function atEnd(owner: Owner, end: End): void {
  const known = ends.get(owner)
  if (known) return void known.push(end)
  const own = [end]
  ends.set(owner, own)
  owner.after(() => endAll(own))
}

async function endAll(stack: End[]): Promise<void> {
  const errors: unknown[] = []
  for (let next = stack.pop(); next; next = stack.pop()) {
    try {
      await next()
    } catch (error) {
      errors.push(error) // the others are ended all the same
    }
  }
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'what the tests had started did not end well')
}
