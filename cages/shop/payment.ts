import { CageError, type Context } from 'menagerie'

/** Money taken from a customer. */
export interface Charge {
  order: string
  customer: string
  amount: number
}

/** Every customer begins with so much. */
const BALANCE = 1_000

export async function charge(ctx: Context, order: string, customer: string, amount: number): Promise<Charge> {
  await ctx.state.update<number>(customer, (balance = BALANCE) => {
    if (balance < amount) throw new CageError('DECLINED', `${customer} has ${balance}, not ${amount}`, { retryable: false })
    return balance - amount
  })
  return { order, customer, amount }
}

/** Gives it back. `refuse`: the bank does not. */
export async function refund(ctx: Context, { customer, amount }: Charge, refuse: boolean): Promise<void> {
  if (refuse) throw new CageError('BANK_REFUSES', 'the account is closed', { retryable: false })
  await ctx.state.update<number>(customer, (balance = BALANCE) => balance + amount)
}

export async function balance(ctx: Context, customer: string): Promise<number> {
  return (await ctx.state.get<number>(customer)) ?? BALANCE
}
