import type { Context } from 'menagerie'

/** Sends a letter: here it only lies in the outbox. */
export async function send(ctx: Context, to: string, text: string): Promise<void> {
  await ctx.state.update<string[]>(to, (letters = []) => [...letters, text])
}

export async function outbox(ctx: Context, to: string): Promise<string[]> {
  return (await ctx.state.get<string[]>(to)) ?? []
}
