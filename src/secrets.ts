/** Secrets: names whose values are never logged and never remembered. */

export const SECRET_NAMES: readonly string[] = [
  ...['password', 'passwd', 'passphrase', 'token', 'secret', 'authorization', 'credentials', 'cookie', 'nkey', 'key'],
  ...['pin', 'card', 'cvc', 'cvv', 'iban'],
]

const SECRETS: ReadonlySet<string> = new Set(SECRET_NAMES)
const KNOWN = new Map<string, boolean>()
/** Names may be users' data: no more of them are kept. */
const MOST_KNOWN = 2_000

/** Whether a name is, or has as one of its words, a secret's: `apiKey`, `card_number`, `userPasswords`. */
export function isSecret(name: string): boolean {
  const known = KNOWN.get(name)
  if (known !== undefined) return known
  const words = name
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z\d]+/)
  const secret = words.some((word) => SECRETS.has(word) || SECRETS.has(word.replace(/s$/, ''))) || SECRETS.has(words.join(''))
  if (KNOWN.size >= MOST_KNOWN) KNOWN.clear()
  KNOWN.set(name, secret)
  return secret
}
