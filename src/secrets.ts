/**
 * Secrets: what must not reach a log, however deep it stands. Names that end in one of the words, and passwords in URLs.
 * X1. What has no secret is given back as it is, not copied.
 */

const REDACTED = '[redacted]'

/** Names in any case, alone or with something in front: `password`, `dbPassword`, `access_token`, `x-api-key`. */
const SECRET =
  /(?:password|passwd|passphrase|pwd|secret|token|authorization|credentials?|cookie|(?:api|private|secret|access|signing|encryption)[-_]?key)$|^n?key$/i

/** Deeper than this nothing is shown. */
const DEEPEST = 12

export function isSecretName(name: string): boolean {
  return SECRET.test(name)
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
    const shown = item !== undefined && item !== null && isSecretName(name) ? REDACTED : walk(item, inside)
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
