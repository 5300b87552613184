import { CageError, type Context } from 'menagerie'

/** What there is of an item, and what is put aside, by order. */
export interface Item {
  free: number
  reserved: Record<string, number>
}

const NONE: Item = { free: 0, reserved: {} }

/** Goods have come. */
export async function put(ctx: Context, item: string, count: number): Promise<Item> {
  return change(ctx, item, ({ free, reserved }) => ({ free: free + count, reserved }))
}

/** Puts goods aside for an order. */
export async function reserve(ctx: Context, order: string, item: string, count: number): Promise<void> {
  await change(ctx, item, ({ free, reserved }) => {
    if (free < count) throw new CageError('SOLD_OUT', `there are ${free} of ${item}, not ${count}`, { retryable: false })
    return { free: free - count, reserved: { ...reserved, [order]: count } }
  })
}

/** Puts them back. */
export async function release(ctx: Context, order: string, item: string): Promise<void> {
  await change(ctx, item, ({ free, reserved }) => {
    const { [order]: count = 0, ...others } = reserved
    return { free: free + count, reserved: others }
  })
}

export async function show(ctx: Context, item: string): Promise<Item> {
  return (await ctx.state.get<Item>(item)) ?? NONE
}

async function change(ctx: Context, item: string, by: (current: Item) => Item): Promise<Item> {
  return (await ctx.state.update<Item>(item, (current = NONE) => by(current))) ?? NONE
}
