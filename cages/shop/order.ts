import type { Context, ModuleOptions } from 'menagerie'

/** An order. `fail` has something go wrong, to see what follows. */
export interface Order {
  item: string
  count: number
  customer: string
  /** `refund`: the courier refuses, and then the bank refuses to give the money back. */
  fail?: 'stock' | 'payment' | 'shipping' | 'refund'
  /** Waits for the signal `approved` before it ships, at most so long. */
  approveMs?: number
}

export const options: ModuleOptions = { timeoutMs: 30_000 }

/** Sells: a saga. Whatever dies on the way, an order ends with everything done, or with everything undone. */
export async function place(ctx: Context, order: Order): Promise<string> {
  const { saga } = ctx
  const { stock, payment, shipping, mail } = ctx.cages.shop
  const { item, count, customer, fail, approveMs } = order
  await saga.step(
    'reserve',
    () => stock.reserve(saga.id, item, fail === 'stock' ? Number.MAX_SAFE_INTEGER : count),
    () => stock.release(saga.id, item),
  )
  await saga.step(
    'charge',
    () => payment.charge(saga.id, customer, fail === 'payment' ? Number.MAX_SAFE_INTEGER : 10 * count),
    (charge) => payment.refund(charge, fail === 'refund'),
  )
  if (approveMs !== undefined) await saga.waitFor('approved', approveMs)
  const parcel = await saga.step(
    'ship',
    () => shipping.ship(saga.id, fail === 'shipping' || fail === 'refund' ? 'nowhere' : customer),
    (sent) => shipping.recall(sent),
  )
  await saga.step('mail', () => mail.send(customer, `${count} x ${item} in parcel ${parcel}`))
  return parcel
}
