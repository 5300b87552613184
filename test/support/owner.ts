/** Who ends what a test has started: a `TestContext`, or `suite` for a whole file. */
import { after } from 'node:test'

export interface Owner {
  after(end: () => Promise<void> | void): void
}

/** For what all tests of a file share. */
export const suite: Owner = { after }
