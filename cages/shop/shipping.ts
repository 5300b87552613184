import { CageError, type Context } from 'menagerie'

/** Sends a parcel, and tells its number. */
export async function ship(ctx: Context, order: string, address: string): Promise<string> {
  if (address === 'nowhere') throw new CageError('NO_COURIER', 'no courier goes there', { retryable: false })
  const number = await ctx.state.update<number>('parcels', (last = 0) => last + 1)
  ctx.log.info({ order, address, parcel: number }, 'shipped')
  return `P-${number}`
}

/** Has the parcel come back. */
export async function recall(ctx: Context, parcel: string): Promise<void> {
  ctx.log.info({ parcel }, 'recalled')
}
