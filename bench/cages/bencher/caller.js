import { enqueue as enqueueAll, load } from '../../load.js'

/** Calls cage `bench` as a user's module would, and says what it cost. */
export async function run(ctx, plan) {
  return await load(() => ctx.cages.bench.target.hello('World'), plan)
}

let runs = 0

/** Enqueues calls of cage `bench` as a user's module would. */
export async function enqueue(ctx, { ids, ...plan }) {
  const run = ++runs
  let n = 0
  const plain = ctx.queue('bench').cages.bench.target
  const target = () => (ids ? ctx.queue('bench', { id: `${process.pid}-${run}-${++n}` }).cages.bench.target : plain)
  return await enqueueAll(() => target().work(String(process.hrtime.bigint()), 'World'), plan)
}
