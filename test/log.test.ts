/** What a log's lines tell, and what they never do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogLevels } from '../src/actors/loglevels.ts'
import { CageError } from '../src/errors.ts'
import { DEADLINE } from '../src/levels.ts'
import { type Log, logTo } from '../src/log.ts'
import { isSecret, withoutPasswords, withoutSecrets } from '../src/secrets.ts'

interface Line {
  level: number
  msg: string
  [field: string]: unknown
}

function opened(level: 'debug' | 'info' = 'info'): { log: Log; lines: Line[]; text: () => string } {
  const texts: string[] = []
  const lines: Line[] = []
  const write = (line: string): void => {
    texts.push(line)
    lines.push(JSON.parse(line) as Line)
  }
  return { log: logTo({ write }, level, { node: 'n', cage: 'c' }), lines, text: () => texts.join('') }
}

test('log: no secret is told, however deep it stands, whatever it is called', () => {
  const { log, lines, text } = opened()
  const own = Object.assign(
    new Error('cannot reach postgres://app:hunter2@db:5432/shop?sslmode=on', { cause: new Error('mongodb://u:hunter2@h') }),
    {
      password: 'hunter2',
    },
  )
  const circular: Record<string, unknown> = { token: 'hunter2' }
  circular.self = circular
  class Login {
    readonly user = 'u'
    readonly apiKey = 'hunter2'
  }
  const hostile = {
    a: { b: { c: { d: { dbPassword: 'hunter2', Authorization: ['hunter2'], kept: 1 } } } },
    list: [[{ secret: 'hunter2' }], { headers: { 'Set-Cookie': 'hunter2', 'x-api-key': 'hunter2' } }],
    map: new Map([['access_token', { value: 'hunter2' }]]),
    ...{
      circular,
      login: new Login(),
      err: new CageError('MINE', 'no', { details: [{ credentials: { user: 'u', pass: 'hunter2' } }], cause: own }),
    },
    ...{ reason: own, url: 'amqp://u:hunter2@h/', bus: 'nats://hunter2@bus:4222', quoted: 'x://u:hun"ter2@h' },
  }
  log.info(hostile, 'connecting to redis://:hunter2@cache:6379/0')
  log
    .child({ token: 'hunter2', nested: { password: 'hunter2' } })
    .child({ key: 'hunter2' })
    .warn({}, 'child')
  assert.doesNotMatch(text(), /hunter2|ter2@/)
  const [{ a, list, err, msg, url, bus, reason, login } = assert.fail('nothing')] = lines
  assert.deepEqual(a, { b: { c: { d: { dbPassword: '[redacted]', Authorization: '[redacted]', kept: 1 } } } })
  assert.deepEqual(list, [[{ secret: '[redacted]' }], { headers: { 'Set-Cookie': '[redacted]', 'x-api-key': '[redacted]' } }])
  assert.deepEqual(login, { user: 'u', apiKey: '[redacted]' })
  assert.deepEqual((err as { details: unknown }).details, [{ credentials: '[redacted]' }])
  assert.equal((reason as { message: string }).message, 'cannot reach postgres://app:[redacted]@db:5432/shop?sslmode=on')
  assert.deepEqual(
    [msg, url, bus],
    ['connecting to redis://:[redacted]@cache:6379/0', 'amqp://u:[redacted]@h/', 'nats://[redacted]@bus:4222'],
  )
})

test('log: what is no secret stays, and is not copied', () => {
  const plain = { at: new Date(5), bytes: Buffer.from('x'), n: 1n, keys: ['a'], tokens: 3, monkey: 'ape', none: null }
  assert.equal(withoutSecrets(plain), plain)
  for (const url of [
    'http://host:80/path@x',
    'https://host/a:b@c',
    'see http://h:8080 and mail me@x.test',
    'file:///tmp/a',
    'nats://a:4222,nats://b:4222',
  ])
    assert.equal(withoutPasswords(url), url)
  assert.equal(withoutPasswords('pg://u:p@ss@h, pg://u:p/w@h'), 'pg://u:[redacted]@h, pg://u:[redacted]@h')
  assert.deepEqual(['password', 'userPassword', 'KEY', 'key'].map(isSecret), [true, true, true, true])
  assert.deepEqual(['keyboard', 'monkey', 'author', 'secretary', 'passwordless'].map(isSecret), [false, false, false, false, false])
})

test('log: a line tells what is left of the deadline when it is written, also of children; elsewhere there is none', () => {
  const { log, lines } = opened()
  const own = Object.assign(log.child({ request: 'r1' }), { [DEADLINE]: Date.now() + 60_000 })
  own.info({ n: 1 }, 'first')
  own.child({ more: 1 }).info({}, 'second')
  Object.assign(own, { [DEADLINE]: Date.now() - 5 }).info({}, 'late')
  own.debug({}, 'off')
  log.info({}, 'nobody’s')
  const left = lines.map(({ leftMs }) => leftMs)
  assert.ok(Number(left[0]) > 50_000 && Number(left[0]) <= 60_000 && Number(left[1]) <= Number(left[0]))
  assert.deepEqual([left[2], left[3], lines.length], [0, undefined, 4])
  assert.deepEqual([lines[0]?.request, lines[1]?.request, lines[1]?.more], ['r1', 'r1', 1])
})

test('log levels: of a module, of the cage, and back after a while; a module of its own goes before', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { log } = opened()
  const levels = new LogLevels(log)
  const greeter = levels.child({ module: 'greeter' }, 'greeter')
  const other = levels.child({ module: 'other' }, 'other')
  const resource = levels.root.child({ resource: 'ledger' })
  const now = (): string => [log, greeter, other, resource].map(({ level }) => level).join(' ')
  levels.set({ module: 'greeter', level: 'debug', forMs: 5_000 })
  assert.equal(now(), 'info debug info info')
  levels.set({ level: 'warn', forMs: 9_000 })
  assert.equal(now(), 'warn debug warn warn')
  assert.equal(levels.child({ module: 'greeter' }, 'greeter').level, 'debug', 'a module that comes again has it')
  t.mock.timers.tick(5_000)
  assert.equal(now(), 'warn warn warn warn')
  levels.set({ module: 'greeter', level: 'trace', forMs: 60_000 })
  levels.set({ module: 'greeter', level: 'error', forMs: 1_000 })
  t.mock.timers.tick(1_000)
  assert.equal(now(), 'warn warn warn warn', 'a second change takes the place of the first')
  levels.set({ level: undefined, forMs: 0 })
  assert.equal(now(), 'info info info info')
})
