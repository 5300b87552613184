import { CageError, type Context } from 'menagerie'

/** Greets `name`, and counts how often it did: a module that calls another one. */
export async function hello(ctx: Context, name: string): Promise<string> {
  if (typeof name !== 'string' || name === '') throw new CageError('INVALID_ARGUMENT', 'a name is needed: hello(name)')
  const n = await ctx.cages.sample.counter.next('greetings')
  ctx.log.debug({ name }, 'greeted')
  return `Hello, ${name}! You are number ${n}.`
}

/** Greets and tells the time: a module that calls another cage, and makes do without it. */
export async function welcome(ctx: Context, name: string): Promise<string> {
  const greeting = await hello(ctx, name)
  try {
    const time = await ctx.with({ timeoutMs: 500 }).cages.almanac.clock.now('UTC')
    return `${greeting} It is ${time}.`
  } catch (error) {
    if (error instanceof CageError && error.code === 'UNAVAILABLE') return `${greeting} Nobody runs the almanac.`
    throw error
  }
}
