/**
 * Passwords: kept as what nobody can turn back, `scrypt:<N>:<salt>:<key>` in base64url (RFC 7914, with r 8 and p 1).
 * P1. A password is as long as people like up to 1,024 characters; more is none, so that nobody makes us compute for a megabyte.
 */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

/** 32 MB and about 80 ms: what OWASP recommends as the second of its choices. */
const COST = 2 ** 15
const BLOCK = 8
const KEY_BYTES = 32
const SALT_BYTES = 16
const LONGEST = 1_024
const HASH = /^scrypt:(\d{4,7}):([\w-]{16,}):([\w-]{32,})$/

/** What to keep of a password; each time another text. Throws a RangeError for one that is empty or too long (P1). */
export async function hashPassword(password: string): Promise<string> {
  if (password === '' || password.length > LONGEST) throw new RangeError(`a password has 1 to ${LONGEST} characters`)
  const salt = randomBytes(SALT_BYTES)
  const key = await derive(password, salt, COST, KEY_BYTES)
  return `scrypt:${COST}:${salt.toString('base64url')}:${key.toString('base64url')}`
}

/** Whether a hash is that of the password. False for a text that is no hash, too; it takes as long whatever the password is. */
export async function verifyPassword(password: string, hash: string): Promise<boolean> {
  const [, cost = '', salt = '', kept = ''] = HASH.exec(hash) ?? []
  const n = Number(cost)
  if (password.length > LONGEST || n < 2 || n > 2 ** 20 || !Number.isInteger(Math.log2(n))) return false
  const key = Buffer.from(kept, 'base64url')
  return timingSafeEqual(await derive(password, Buffer.from(salt, 'base64url'), n, key.length), key)
}

function derive(password: string, salt: Buffer, cost: number, bytes: number): Promise<Buffer> {
  const options = { N: cost, r: BLOCK, p: 1, maxmem: 256 * cost * BLOCK }
  return new Promise((resolve, reject) => {
    scrypt(password.normalize('NFKC'), salt, bytes, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
}
