import { load } from '../../load.js'

/** Calls cage `bench` as a user's module would, and says what it cost. */
export async function run(ctx, plan) {
  return await load(() => ctx.cages.bench.target.hello('World'), plan)
}
