/**
 * Access: who may act. Users are in the configuration (`values.users`), their sessions in a signed cookie.
 * A1. A session ends after SESSION_MS, and with the password that it was begun with: its hash is part of what is signed.
 * A2. An attempt counts before it is looked at, so that many at once are no way around the limits; an unknown user costs as much as a known one.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { CageError, type Context, hashPassword, verifyPassword } from 'menagerie'

const SESSION_MS = 8 * 3_600_000
const PERIOD_MS = 300_000
/** Failed logins in a period: from one address, and of one user. */
const FAILURES = { ip: 5, user: 20 }
const SECRET = 'secret'

export const options: { concurrency: number } = { concurrency: 4 } // each login takes 32 MB

let decoy: Promise<string> | undefined

/** Begins a session: what the cookie holds. UNAUTHENTICATED, OVERLOADED (too many attempts). */
export async function login(
  ctx: Context,
  { user, password, ip }: { user: string; password: string; ip: string },
): Promise<{ cookie: string; maxAgeS: number }> {
  const keys = [`ip ${ip}`, `user ${user}`.slice(0, 64)] as const
  const [byIp, byUser] = await Promise.all(keys.map((key) => attempts(ctx, key, 1)))
  if ((byIp ?? 0) > FAILURES.ip || (byUser ?? 0) > FAILURES.user)
    throw new CageError('OVERLOADED', `too many logins have failed, try again in ${PERIOD_MS / 60_000} minutes`, {
      retryAfterMs: PERIOD_MS,
    })
  decoy ??= hashPassword(randomBytes(16).toString('hex'))
  const hash = hashOf(ctx, user)
  const isRight = await verifyPassword(password, hash ?? (await decoy))
  if (!isRight || hash === undefined) {
    ctx.log.warn({ user: user.slice(0, 64), ip }, 'a login has failed')
    throw new CageError('UNAUTHENTICATED', 'user or password is wrong')
  }
  await Promise.all(keys.map((key) => attempts(ctx, key, -1)))
  const told = `${Buffer.from(user).toString('base64url')}.${(Date.now() + SESSION_MS).toString(36)}`
  return { cookie: `${told}.${sign(await secretOf(ctx), told, hash)}`, maxAgeS: SESSION_MS / 1_000 }
}

/** Whose session it is, and whether anybody can log in. */
export async function session(
  ctx: Context,
  { cookie }: { cookie?: string | undefined },
): Promise<{ user?: string | undefined; canLogIn: boolean }> {
  const canLogIn = Object.keys(usersOf(ctx)).length > 0
  const [name = '', until = '', signature = ''] = cookie?.split('.') ?? []
  const user = Buffer.from(name, 'base64url').toString()
  const hash = hashOf(ctx, user)
  if (hash === undefined || !(Number.parseInt(until, 36) > Date.now())) return { canLogIn }
  const right = Buffer.from(sign(await secretOf(ctx), `${name}.${until}`, hash))
  const given = Buffer.from(signature)
  return given.length === right.length && timingSafeEqual(given, right) ? { user, canLogIn } : { canLogIn }
}

function usersOf({ config }: Context): Record<string, unknown> {
  return typeof config.users === 'object' && config.users !== null ? { ...config.users } : {}
}

function hashOf(ctx: Context, user: string): string | undefined {
  const users = usersOf(ctx)
  const hash = Object.hasOwn(users, user) ? users[user] : undefined
  return typeof hash === 'string' ? hash : undefined
}

/** Made once, for all copies. */
async function secretOf(ctx: Context): Promise<Uint8Array> {
  const known = await ctx.state.get<Uint8Array>(SECRET)
  const secret = known ?? (await ctx.state.update<Uint8Array>(SECRET, (current) => current ?? new Uint8Array(randomBytes(32))))
  if (!secret) throw new Error('the secret was not kept')
  return secret
}

/** A1. */
function sign(secret: Uint8Array, told: string, hash: string): string {
  return createHmac('sha256', secret).update(`${told}\n${hash}`).digest('base64url')
}

/** A2. How many there were in this period. */
async function attempts(ctx: Context, key: string, more: 1 | -1): Promise<number> {
  const now = Date.now()
  const change = (current?: { n: number; since: number }): { n: number; since: number } => {
    const { n, since } = current && now - current.since < PERIOD_MS ? current : { n: 0, since: now }
    return { n: Math.max(0, n + more), since }
  }
  return (await ctx.state.update(key, change, { ttlMs: 2 * PERIOD_MS }))?.n ?? 0
}
