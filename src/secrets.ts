/**
 * Secrets: what is never logged and never remembered, however deep it stands: values under names that have a secret's name as one of their words,
 * and passwords in URLs.
 * X1. What has no secret is given back as it is, not copied.
 */

const REDACTED = '[redacted]'

/** Deeper than this nothing is shown. */
const DEEPEST = 12

const SECRETS: ReadonlySet<string> = new Set([
  ...['password', 'passwd', 'passphrase', 'token', 'secret', 'authorization', 'credentials', 'cookie', 'nkey', 'key'],
  ...['pin', 'card', 'cvc', 'cvv', 'iban', 'pwd', 'passwords', 'secrets', 'cookies', 'pins'],
])

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
  const secret = words.some((word) => SECRETS.has(word)) || SECRETS.has(words.join(''))
  if (KNOWN.size >= MOST_KNOWN) KNOWN.clear()
  KNOWN.set(name, secret)
  return secret
}

/** A value without the secrets in it (X1). */
export function withoutSecrets(value: unknown): unknown {
  return walk(value, [])
}

/**
 * A text without the passwords of URLs: `postgres://app:[redacted]@db/shop`, also one that should have been escaped in the URL and was not, and
 * without tokens in their place: `nats://[redacted]@bus`.
 */
export function withoutPasswords(text: string): string {
  if (!text.includes('://')) return text
  return text
    .replace(/:\/\/([^\s/?#":@\\]*):(?:\\"|[^\s/?#"])+@/g, `://$1:${REDACTED}@`)
    .replace(/:\/\/([^\s/?#":@\\]+):(?!\d+[/?#"\s])(?:\\"|[^\s"@])+@/g, `://$1:${REDACTED}@`)
    .replace(/:\/\/(?![^\s/?#"@]*:)(?:\\"|[^\s/?#"@])+@/g, `://${REDACTED}@`)
}

function walk(value: unknown, above: readonly object[]): unknown {
  if (typeof value !== 'object' || value === null || isOpaque(value)) return value
  if (above.includes(value)) return '[circular]'
  if (above.length >= DEEPEST) return '[too deep]'
  const inside = [...above, value]
  if (Array.isArray(value)) {
    const items = value.map((item) => walk(item, inside))
    return items.some((item, n) => item !== value[n]) ? items : value
  }
  if (value instanceof Map) return walk(Object.fromEntries([...value].map(([key, item]) => [String(key), item])), inside)
  if (value instanceof Set) return walk([...value], inside)
  let copy: Record<string, unknown> | undefined
  for (const [name, item] of Object.entries(value)) {
    const shown = item !== undefined && item !== null && isSecret(name) ? REDACTED : walk(item, inside)
    if (shown === item) continue
    copy ??= { ...value }
    copy[name] = shown
  }
  return copy ?? value
}

/** It is written by itself, as text or number: dates, bytes, URLs. Errors are serialized by the log. */
function isOpaque(value: object): boolean {
  return value instanceof Error || ArrayBuffer.isView(value) || typeof (value as { toJSON?: unknown }).toJSON === 'function'
}
