import { load } from '../../load.js'

const HELLO = "select 'Hello, World!' as greeting, $1::int as n"
const ANSWER = { greeting: 'Hello, World!' }
const ended = new Map()
let started = 0

/** What is measured, by its name. Each ends in the greeting that `load` counts. */
const WORK = {
  resource: (ctx) => ctx.resources.ledger.execute(HELLO, [1]).then(([row]) => row),
  async one(ctx) {
    const xa = ctx.transaction()
    xa.ledger.execute(HELLO, [1])
    const [[row]] = await xa.execute()
    return row
  },
  async void(ctx) {
    const xa = ctx.transaction()
    xa.nothing.hello(ANSWER)
    const [[answer]] = await xa.execute()
    if (++started % 64 === 0) await new Promise(setImmediate) // it waits for nothing: the clock would never have its turn
    return answer
  },
  async three(ctx) {
    const xa = ctx.transaction()
    for (let n = 0; n < 3; n++) xa.nothing.hello(ANSWER)
    const [[answer]] = await xa.execute()
    return answer
  },
  async saga(ctx) {
    const id = `${process.pid}-${++started}`
    const end = new Promise((resolve) => ended.set(id, resolve))
    await ctx.queue('sagas', { id }).cages.teller.teller.steps(id)
    return await end
  },
}

/** Does it as a user's module would, and says what it cost. */
export async function run(ctx, kind, plan) {
  return await load(() => WORK[kind](ctx), plan)
}

/** A saga of three steps. */
export async function steps(ctx, id) {
  await ctx.saga.step('one', async () => 1)
  await ctx.saga.step('two', async () => 2)
  await ctx.saga.step('three', async () => 3)
  ended.get(id)?.(ANSWER)
  ended.delete(id)
}
