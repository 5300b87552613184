/**
 * The alphabet of short messages, and its seven bits. Pure.
 * G1. What is not in the alphabet is never replaced by something else: it cannot be encoded.
 * G2. An escape that leads nowhere is read as a space, as the specification says.
 *
 * GSM 03.38 (3GPP TS 23.038): 6.1.2 (packing), 6.2.1 (alphabet and extension).
 */
const BASIC =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà'
/** The first of two septets. */
export const ESCAPE = 0x1b
const EXTENSION: Readonly<Record<string, number>> = {
  '\f': 0x0a,
  '^': 0x14,
  '{': 0x28,
  '}': 0x29,
  '\\': 0x2f,
  '[': 0x3c,
  '~': 0x3d,
  ']': 0x3e,
  '|': 0x40,
  '€': 0x65,
}

/** UTF-16 unit → its septet, with EXTENDED its second one, or NONE. All of the alphabet is below 0x2100. */
const SEPTETS = new Int16Array(0x2100)
const NONE = -1
const EXTENDED = 0x80
SEPTETS.fill(NONE)
for (const [n, character] of [...BASIC].entries()) if (n !== ESCAPE) SEPTETS[character.charCodeAt(0)] = n
for (const [character, n] of Object.entries(EXTENSION)) SEPTETS[character.charCodeAt(0)] = EXTENDED | n
const EXTENSIONS: ReadonlyMap<number, string> = new Map(Object.entries(EXTENSION).map(([character, n]) => [n, character]))

/** One septet in each octet, or undefined if a character is not in the alphabet (G1). */
export function toSeptets(text: string): Buffer | undefined {
  const octets = Buffer.allocUnsafe(text.length * 2)
  let size = 0
  for (let at = 0; at < text.length; at++) {
    const septet = SEPTETS[text.charCodeAt(at)] ?? NONE
    if (septet === NONE) return undefined
    if (septet & EXTENDED) octets[size++] = ESCAPE
    octets[size++] = septet & 0x7f
  }
  return octets.subarray(0, size)
}

/** One septet in each octet; the eighth bit is ignored. */
export function fromSeptets(septets: Uint8Array): string {
  let text = ''
  for (let n = 0; n < septets.length; n++) {
    const septet = (septets[n] ?? 0) & 0x7f
    text += septet === ESCAPE ? (EXTENSIONS.get((septets[++n] ?? 0) & 0x7f) ?? ' ') : BASIC[septet] // G2
  }
  return text
}

/** Seven bits each, after `header` octets, which end on a septet's edge. A last octet with room for one more gets CR, not `@` (6.1.2.3.1). */
export function pack(septets: Uint8Array, header: number = 0): Buffer {
  const fill = fillBits(header)
  const bits = fill + septets.length * 7
  const padded = bits % 8 === 1 ? [...septets, 0x0d] : septets
  const packed = Buffer.alloc(Math.ceil(bits / 8))
  for (const [n, septet] of padded.entries()) {
    const at = fill + n * 7
    const shifted = (septet & 0x7f) << (at % 8)
    const octet = at >> 3
    packed[octet] = (packed[octet] ?? 0) | (shifted & 0xff)
    if (shifted > 0xff && octet + 1 < packed.length) packed[octet + 1] = shifted >> 8
  }
  return packed
}

/** What `pack` has packed. */
export function unpack(packed: Uint8Array, header: number = 0): Uint8Array {
  const fill = fillBits(header)
  const septets = new Uint8Array(Math.max(0, Math.floor((packed.length * 8 - fill) / 7)))
  for (const n of septets.keys()) {
    const at = fill + n * 7
    const octet = at >> 3
    septets[n] = ((((packed[octet + 1] ?? 0) << 8) | (packed[octet] ?? 0)) >> (at % 8)) & 0x7f
  }
  const padded = (fill + septets.length * 7) % 8 === 0 && septets.at(-1) === 0x0d
  return padded ? septets.subarray(0, -1) : septets
}

function fillBits(header: number): number {
  return (7 - ((header * 8) % 7)) % 7
}
