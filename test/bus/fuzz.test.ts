import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as dial, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Packr } from 'msgpackr'
import { encodeEnvelope } from '../../src/bus/wire.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { project, startNode } from '../support/node.ts'

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
const MESSAGES = Number(process.env.FUZZ_MESSAGES ?? 20_000)
const BATCH = 500

/** A seeded source of everything random here: mulberry32. */
class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 0 <= n < limit, whole. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % limit
  }

  once(inSoMany: number): boolean {
    return this.below(inSoMany) === 0
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T // there are always some
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }
}

const packr = new Packr({ useRecords: false, moreTypes: true })
const VALUES: unknown[][] = [
  [],
  ['World'],
  [1, -1, 2 ** 40, 1.5, null, true],
  [{ a: { b: [1, { c: 'd' }] } }, [[[]]]],
  [Buffer.from('bytes'), new Date(5), new Set([1, 2]), 'é😀'.repeat(20)],
  [{ __proto__: null, constructor: { prototype: { polluted: true } } }],
]
const JSON_TEXTS = [...VALUES.map((value) => JSON.stringify(value)), '{"__proto__":{"polluted":true}}', '"x"', '7', 'null', ' [1]', '﻿[1]']
const PACKED = VALUES.map((value) => Buffer.from(packr.pack(value)))
const ENVELOPES = [
  ...VALUES.map((value, n) => Buffer.from(encodeEnvelope([new Map([[1, value]])], 1_000 * n - 500, { id: `r${n}` }))),
  Buffer.from(encodeEnvelope([5n], 5_000, { id: 'p', traceparent: 't', parameters: { a: 1 } })),
]
const HUGE = [
  'ddffffffff',
  'dfffffffff',
  'dbffffffff',
  'c6ffffffff',
  'c9ffffffff42',
  'c9ffffffff72',
  'dcffff',
  'deffff',
  'daffff',
  'c8ffff74',
  'd9ff',
]
const OPENERS = ['91', '81a161', 'dd00000001', 'c1', 'd47300', '7b2261223a', '5b', 'd472409140', 'd66900000001', 'dc0001', 'c70165'].map(
  (hex) => Buffer.from(hex, 'hex'),
)
const EXTENSIONS = [0x72, 0x65, 0x69, 0x70, 0x73, 0x74, 0x78, 0x62, 0x42, 0x4d, 0xff, 0x00, 0x7f]

function payload(chance: Chance): Buffer {
  switch (chance.below(9)) {
    case 0:
      return chance.bytes(chance.below(200))
    case 1:
      return mutated(chance, Buffer.from(chance.of(JSON_TEXTS)))
    case 2:
      return mutated(chance, chance.of(PACKED))
    case 3:
      return mutated(chance, chance.of(ENVELOPES))
    case 4: {
      const whole = chance.of([...PACKED, ...ENVELOPES, ...JSON_TEXTS.map((text) => Buffer.from(text))])
      return whole.subarray(0, chance.below(whole.length + 1))
    }
    case 5:
      return Buffer.concat([
        chance.of([Buffer.alloc(0), Buffer.from([0xc1]), Buffer.from([0xc1, 0x93])]),
        huge(chance),
        chance.bytes(chance.below(20)),
      ])
    case 6:
      return nested(chance)
    case 7:
      return extension(chance)
    default:
      return chance.of([...PACKED, ...ENVELOPES, ...JSON_TEXTS.map((text) => Buffer.from(text))])
  }
}

function mutated(chance: Chance, whole: Buffer): Buffer {
  let bytes = Buffer.from(whole)
  for (let n = 1 + chance.below(4); n > 0; n--) {
    const at = chance.below(bytes.length + 1)
    const rest = bytes.subarray(at)
    if (chance.once(3)) bytes = Buffer.concat([bytes.subarray(0, at), chance.bytes(1 + chance.below(3)), rest])
    else if (chance.once(2)) bytes = Buffer.concat([bytes.subarray(0, at), rest.subarray(1)])
    else if (at < bytes.length) bytes[at] = chance.below(256)
  }
  return bytes
}

/** Lengths that promise far more than there is, one in the other. */
function huge(chance: Chance): Buffer {
  return Buffer.from(Array.from({ length: 1 + chance.below(50) }, () => chance.of(HUGE)).join(''), 'hex')
}

function nested(chance: Chance): Buffer {
  const depth = chance.once(20) ? 50_000 : chance.below(2_000)
  const opener = chance.of(OPENERS)
  const bytes = Buffer.concat(Array.from({ length: depth }, () => opener))
  if (opener[0] === 0x5b) return Buffer.concat([bytes, Buffer.from(chance.once(2) ? ']'.repeat(depth) : '1')])
  return Buffer.concat([chance.once(3) ? Buffer.from('c193', 'hex') : Buffer.alloc(0), bytes, Buffer.from([0x01])])
}

function extension(chance: Chance): Buffer {
  const type = chance.of(EXTENSIONS)
  const body = chance.once(2) ? chance.bytes(chance.below(32)) : chance.of(PACKED)
  const length = chance.once(4) ? chance.below(256) : Math.min(255, body.length)
  const head = chance.once(2) ? [0xc7, length, type] : [chance.of([0xd4, 0xd5, 0xd6, 0xd7, 0xd8]), type]
  const whole = Buffer.concat([Buffer.from([0x92, ...head]), body, Buffer.from([0x01])])
  return chance.once(3) ? Buffer.concat([Buffer.from('c193', 'hex'), whole, Buffer.from('cd03e8a172', 'hex')]) : whole
}

const METHODS = [
  'echo',
  'later',
  'whoami',
  'constructor',
  '__proto__',
  'toString',
  'hasOwnProperty',
  'then',
  'start',
  'stop',
  'options',
  '_hidden',
  '$',
]
const TOKEN_LETTERS = [...'abcXYZ019_-$!"#%&\'()+,/:;<=?@[\\]^`{|}~é😀']

function token(chance: Chance): string {
  return Array.from({ length: 1 + chance.below(40) }, () => chance.of(TOKEN_LETTERS)).join('')
}

function headerBlock(chance: Chance): string {
  const line = (): string =>
    chance.of([
      () => `Timeout-Ms: ${chance.of(['0', '-1', 'x', '1e999', '0.0001', '5000', '', ' ', '٣'])}`,
      () => `Request-Id: ${token(chance).repeat(chance.below(20))}`,
      () => `traceparent: ${token(chance)}`,
      () => `${token(chance)}: ${token(chance)}`,
      () => `Bad Name: ${token(chance)}`,
      () => 'X: a\nb\rc',
      () => ': empty',
      () => 'no colon',
      () => `Nats-Service-Error-Code: ${chance.below(600)}`,
      () =>
        chance
          .bytes(10)
          .toString('latin1')
          .replace(/[\r\n]/g, '.'),
    ])()
  const status = chance.of(['NATS/1.0', 'NATS/1.0', 'NATS/1.0 503', 'NATS/1.0 nonsense', 'HTTP/1.1 200'])
  return `${[status, ...Array.from({ length: chance.below(5) }, line)].join('\r\n')}\r\n\r\n`
}

/** One message, and the number that its reply subject ends in if an answer must come. */
interface Shot {
  bytes: Buffer
  expects: number | undefined
  what: string
}

function shot(chance: Chance, n: number): Shot {
  const kind = chance.below(20)
  const data = kind === 0 ? Buffer.from(chance.once(2) ? `replies.${Math.max(0, n - chance.below(20))}` : payload(chance)) : payload(chance)
  const method = chance.once(4) ? token(chance) : chance.of(METHODS)
  let subject = `fuzz.target.${method}`
  if (kind === 0) subject = '$CANCEL.fuzz'
  else if (kind === 1) subject = `$SRV.${chance.of(['PING', 'INFO', 'STATS'])}${chance.of(['', '.fuzz'])}`
  const wantsReply = !chance.once(4)
  const reply = wantsReply ? `replies.${n}` : chance.once(10) ? 'fuzz.target.echo' : ''
  const header = chance.once(4) ? Buffer.from(headerBlock(chance)) : Buffer.alloc(0)
  const line =
    header.length > 0
      ? `HPUB ${subject} ${reply} ${header.length} ${header.length + data.length}\r\n`
      : `PUB ${subject} ${reply} ${data.length}\r\n`
  return {
    bytes: Buffer.concat([Buffer.from(line), header, data, Buffer.from('\r\n')]),
    expects: wantsReply && kind !== 0 ? n : undefined,
    what: `${line.trim()} ${header.toString('hex')} ${data.subarray(0, 300).toString('hex')}`,
  }
}

/** A bare socket that speaks the NATS client protocol and counts the answers per number. */
class Gun {
  readonly answers = new Map<number, number>()
  failed: string | undefined
  readonly #socket: Socket
  #data = Buffer.alloc(0)

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (data) => {
      this.#data = Buffer.concat([this.#data, data])
      while (this.#parse());
    })
    socket.on('close', () => (this.failed ??= 'the server has closed the connection'))
  }

  static async open(t: TestContext, port: number): Promise<Gun> {
    const socket = dial(port, '127.0.0.1')
    t.after(() => void socket.destroy())
    await once(socket, 'connect')
    socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true,"protocol":1}\r\nSUB replies.* 1\r\n')
    return new Gun(socket)
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  #parse(): boolean {
    const end = this.#data.indexOf('\r\n')
    if (end < 0) return false
    const [verb = '', ...words] = this.#data.subarray(0, end).toString().split(' ')
    const size = verb === 'MSG' || verb === 'HMSG' ? Number(words.at(-1)) + 2 : 0
    if (this.#data.length < end + 2 + size) return false
    this.#data = this.#data.subarray(end + 2 + size)
    if (size > 0) {
      const number = Number(words[0]?.slice('replies.'.length))
      this.answers.set(number, (this.answers.get(number) ?? 0) + 1)
    } else if (verb === 'PING') this.#socket.write('PONG\r\n')
    else if (verb === '-ERR') this.failed = words.join(' ')
    return true
  }
}

const TARGET = `
  import { threadId } from 'node:worker_threads'
  export const options = { maxQueued: 10_000 }
  export function echo(ctx, ...args) { return args }
  export async function later(ctx, ...args) { await new Promise((resolve) => setImmediate(resolve)); return args }
  export function whoami() { return { pid: process.pid, threadId, polluted: {}.polluted } }`

test(`bus: ${MESSAGES} random messages get an answer each, and the cage goes on as before`, async (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`)
  const chance = new Chance(SEED)
  const server = await startNats(t)
  const folder = project(t, { 'cages/fuzz/target.js': TARGET })
  const node = startNode(t, folder.dir, ['--cage', 'fuzz', '--bus', server.url])
  await node.ready
  const [nc, bus, gun] = [await client(t, server.url), await testBus(t, server.url), await Gun.open(t, server.port)]
  const before = (await ask(nc, 'fuzz.target.whoami')).body
  const expected = new Map<number, string>()
  try {
    for (let n = 0; n < MESSAGES; ) {
      const shots = Array.from({ length: Math.min(BATCH, MESSAGES - n) }, () => shot(chance, n++))
      gun.send(Buffer.concat(shots.map((one) => one.bytes)))
      for (const { expects, what } of shots) if (expects !== undefined) expected.set(expects, what)
      const value = [n, new Map([[n, new Date(n)]]), BigInt(n)]
      const honest = bus.call('fuzz', 'target', 'later', value, { deadline: Date.now() + 20_000, request: { id: 'honest' } })
      assert.deepEqual(await honest, value, 'an honest caller among the others')
      await eventually(
        `the answers up to ${n}`,
        () => {
          assert.equal(gun.failed, undefined)
          return shots.every(({ expects }) => expects === undefined || gun.answers.has(expects))
        },
        10_000,
      )
    }
    const twice = [...gun.answers].filter(([n, count]) => count > 1 && expected.has(n))
    assert.deepEqual(twice, [], 'exactly one answer each')
    assert.deepEqual((await ask(nc, 'fuzz.target.whoami')).body, before)
    assert.deepEqual((await ask(nc, 'fuzz.target.echo', ['still', { here: 1 }])).body, ['still', { here: 1 }])
    assert.equal((before as { pid: number }).pid, node.pid)
    assert.deepEqual(
      node.log.filter((entry) => entry.level >= 50),
      [],
    )
    assert.equal(node.stderr(), '')
  } catch (cause) {
    const missing = [...expected].filter(([n]) => !gun.answers.has(n)).slice(0, 3)
    const said = node.log.filter((entry) => entry.level >= 50).slice(0, 3)
    throw new Error(
      `again with FUZZ_SEED=${SEED} FUZZ_MESSAGES=${MESSAGES}; unanswered: ${JSON.stringify(missing)}; the node said: ${JSON.stringify(said)} ${node.stderr()}`,
      { cause },
    )
  }
})

test('bus: whatever a foreign service answers, every call of ours ends, and the caller goes on', async (t) => {
  t.diagnostic(`FUZZ_SEED=${SEED}`)
  const chance = new Chance(SEED)
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  const nc = await client(t, server.url)
  const gun = await Gun.open(t, server.port)
  nc.subscribe('foreign.service.*', {
    callback: (_error, msg) => {
      const header = chance.once(2) ? Buffer.from(headerBlock(chance)) : Buffer.alloc(0)
      const data = payload(chance)
      const sizes = header.length > 0 ? `${header.length} ${header.length + data.length}` : `${data.length}`
      gun.send(
        Buffer.concat([Buffer.from(`${header.length > 0 ? 'HPUB' : 'PUB'} ${msg.reply} ${sizes}\r\n`), header, data, Buffer.from('\r\n')]),
      )
    },
  })
  await nc.flush()
  const total = Math.ceil(MESSAGES / 4)
  for (let n = 0; n < total; n += BATCH) {
    const calls = Array.from({ length: BATCH }, () =>
      bus.call('foreign', 'service', 'any', [], { deadline: Date.now() + 10_000, request: { id: 'r' } }),
    )
    for (const end of await Promise.allSettled(calls)) {
      if (end.status === 'fulfilled') continue
      assert.ok(
        end.reason instanceof CageError && !end.reason.message.endsWith('did not answer in time'),
        `FUZZ_SEED=${SEED}: ${end.reason}`,
      )
    }
  }
  assert.equal(gun.failed, undefined)
  assert.deepEqual(bus.stats(), { lateReplies: 0, reconnects: 0, inFlight: 0 })
})
