/** Redis as a resource: words and replies, errors, scripts, batches, WATCH, and transactions of one phase; redis-cli looks on. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { RedisResource, RedisSession } from '../../src/adapters/redis/api.ts'
import { redisOptions } from '../../src/adapters/redis/options.ts'
import { open } from '../../src/adapters/redis/resource.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { certificates } from '../support/certificates.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startSockets } from '../support/web.ts'

let server: RedisServer

before(async () => {
  server = await startRedis(suite)
})

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(
  owner: Owner,
  options: object = {},
  said: Said[] = [],
  within: Scope = scope(),
): Promise<Required<ResourceConnection>> {
  const recording = recordingLog()
  const resource = await open(redisOptions.parse({ url: server.url, ...options }), { cage: 'c', name: 'cache', log: recording.log })
  const connection = await resource.connect(within)
  atEnd(owner, () => connection.close())
  atEnd(owner, () => void said.push(...recording.said))
  return connection as Required<ResourceConnection>
}

/** Its methods, as modules call them. */
function methods(connection: ResourceConnection): RedisResource {
  return new Proxy({} as RedisResource, {
    get: (_, method) => (method === 'then' ? undefined : (...args: unknown[]) => connection.call(String(method), args, scope())),
  })
}

function rejects(work: Promise<unknown>, code: string, details?: object): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, code, error.message)
    if (details) assert.deepEqual(error.details, details)
    return true
  })
}

test('redis: words arrive as they were given, and replies come without loss', async (t) => {
  const db = methods(await connect(t))
  assert.equal(await db.set('text', 'grüße', 'EX', 60), 'OK')
  assert.equal(await db.get('text'), 'grüße')
  assert.equal(await server.cli('get', 'text'), 'grüße')
  assert.equal(await db.get('nothing'), null)
  await db.command(['SET', 'bytes', new Uint8Array([0, 255, 13, 10])])
  assert.deepEqual(await db.command(['GET', 'bytes'], { bytes: true }), new Uint8Array([0, 255, 13, 10]))
  await db.set('big', 2n ** 53n)
  assert.equal(await db.incrby('big', 1), 2n ** 53n + 1n)
  assert.equal(await db.incrby('small', 7), 7)
  await db.hset('hash', 'a', 1, 'b', '2')
  assert.deepEqual(await db.hgetall('hash'), { a: '1', b: '2' })
  assert.deepEqual(
    await db.command(['HGETALL', 'hash'], { bytes: true }),
    [Buffer.from('a'), Buffer.from('1'), Buffer.from('b'), Buffer.from('2')].map((b) => new Uint8Array(b)),
  )
  await db.zadd('scores', 1.5, 'x', Number.POSITIVE_INFINITY, 'y')
  assert.deepEqual(await db.zrange('scores', 0, -1, 'WITHSCORES'), [
    ['x', 1.5],
    ['y', Number.POSITIVE_INFINITY],
  ])
  await db.xadd('stream', '1-1', 'field', 'value')
  assert.deepEqual(await db.xrange('stream', '-', '+'), [['1-1', ['field', 'value']]])
  assert.deepEqual(await db.command(['CONFIG', 'GET', 'maxmemory']), { maxmemory: '0' })
})

test('redis: mistakes and refusals have their codes, and tell nothing of what was sent', async (t) => {
  const db = methods(await connect(t))
  await db.set('string', 'x')
  await rejects(db.lpush('string', 'y'), 'INVALID_ARGUMENT', { reply: 'WRONGTYPE' })
  await rejects(db.command(['NOSUCH', 'secret']), 'INVALID_ARGUMENT', { reply: 'ERR' })
  await assert.rejects(db.command(['NOSUCH', 'secret']), (error: CageError) => !/secret/.test(JSON.stringify(error)))
  await rejects(db.set('k', { a: 1 } as never), 'INVALID_ARGUMENT')
  await rejects(db.set('k', undefined as never), 'INVALID_ARGUMENT')
  await rejects(db.command([]), 'INVALID_ARGUMENT')
  await rejects(db.command(['GET', 'k'], { byte: true } as object), 'INVALID_ARGUMENT')
  for (const words of [['SUBSCRIBE', 'x'], ['MULTI'], ['select', '1'], ['CLIENT', 'REPLY', 'OFF'], ['MONITOR']])
    await rejects(db.command(words), 'INVALID_ARGUMENT')
  await server.cli('acl', 'setuser', 'reader', 'on', '>pw', '~open:*', '+get', '+client|id', '+hello', '+client|setname')
  const reader = methods(await connect(t, { user: 'reader', password: 'pw' }))
  await rejects(reader.get('closed:1'), 'FORBIDDEN')
  assert.equal(await reader.get('open:1'), null)
  await rejects(connect(t, { user: 'reader', password: 'wrong' }), 'UNAUTHENTICATED')
  await server.cli('config', 'set', 'maxmemory', '1')
  await rejects(db.set('k', 'x'), 'OVERLOADED').finally(() => server.cli('config', 'set', 'maxmemory', '0'))
})

test('redis: a script is run by its hash, also by a server that does not know it yet', async (t) => {
  const db = methods(await connect(t))
  const source = 'return {KEYS[1], ARGV[1], redis.call("incrby", KEYS[1], ARGV[2])}'
  assert.deepEqual(await db.script(source, ['counter'], ['a', 2]), ['counter', 'a', 2])
  await server.cli('script', 'flush')
  assert.deepEqual(await db.script(source, ['counter'], ['a', 2]), ['counter', 'a', 4])
  const calls = /cmdstat_eval:calls=(\d+)/
  const evals = async (): Promise<string | undefined> => calls.exec(await server.cli('info', 'commandstats'))?.[1]
  const before = await evals()
  await db.script(source, ['counter'], ['a', 2])
  assert.equal(await evals(), before, 'it was not sent again')
  await rejects(db.script('return redis.error_reply("MINE is wrong")'), 'INVALID_ARGUMENT', { reply: 'MINE' })
})

test('redis: a batch is done at once, or not at all if it is wrong; a command that fails in it leaves the others done, and says so', async (t) => {
  const said: Said[] = []
  const db = methods(await connect(t, {}, said))
  assert.deepEqual(
    await db.batch([
      ['SET', 'b1', 'x'],
      ['INCR', 'b2'],
      ['GET', 'b1'],
    ]),
    ['OK', 1, 'x'],
  )
  assert.deepEqual(await db.batch([]), [])
  await rejects(db.batch([['SET', 'b3', 'x'], ['NOSUCH']]), 'INVALID_ARGUMENT')
  assert.equal(await db.get('b3'), null)
  await rejects(
    db.batch([
      ['SET', 'b4', 'x'],
      ['INCR', 'b4'],
      ['INCR', 'b2'],
    ]),
    'INVALID_ARGUMENT',
    { reply: 'ERR', failed: 1, done: 2 },
  )
  assert.equal(await db.get('b2'), '2')
})

test('redis: work under WATCH is done if nothing has changed, else CONFLICT; nothing stays watched', async (t) => {
  const db = methods(await connect(t))
  await db.set('stock', 5)
  const take = (meanwhile?: () => Promise<unknown>): Promise<number> =>
    db.run(['stock'], async (session) => {
      const left = Number(await session.read(['GET', 'stock']))
      await meanwhile?.()
      session.queue('SET', 'stock', left - 1)
      session.queue('RPUSH', 'taken', left)
      return left
    })
  assert.equal(await take(), 5)
  assert.equal(await db.get('stock'), '4')
  await assert.rejects(
    take(() => server.cli('set', 'stock', '9')),
    (error: CageError) => error.code === 'CONFLICT' && error.retryable,
  )
  assert.deepEqual([await db.get('stock'), await db.llen('taken')], ['9', 1])
  const own = new Error('of the work')
  let kept: RedisSession | undefined
  await assert.rejects(
    db.run(['stock'], async (session) => {
      kept = session
      throw own
    }),
    own,
  )
  await rejects(
    Promise.resolve().then(() => kept?.read(['GET', 'stock'])),
    'INVALID_ARGUMENT',
  )
  await rejects(
    db.run(['stock'], (session) => session.read(['SET', 'stock', '0'])),
    'INVALID_ARGUMENT',
  )
  await server.cli('set', 'stock', '1')
  assert.deepEqual(await db.batch([['GET', 'stock']]), ['1'], 'nothing is watched any more')
})

test('redis: in a transaction nothing is done before the commit, and nothing after a rollback', async (t) => {
  const connection = await connect(t)
  const db = methods(connection)
  await connection.begin({ id: 'm/1', options: {} }, scope())
  assert.equal(await db.set('t1', 'x'), 'QUEUED')
  assert.equal(await db.script('return redis.call("set", KEYS[1], "y")', ['t2']), 'QUEUED')
  assert.equal(await db.batch([['INCR', 't3']]), 'QUEUED')
  assert.equal(await server.cli('exists', 't1', 't2', 't3'), '0')
  const identity = JSON.parse(JSON.stringify(await connection.identity(scope())))
  await connection.commit(scope())
  assert.equal(await server.cli('exists', 't1', 't2', 't3'), '3')
  const other = await connect(t)
  assert.equal(await other.outcome(identity, scope()), 'committed')
  assert.equal(await other.outcome({ ...identity, mark: 'never', at: 0 }, scope()), 'unknown')
  const next = await connect(t)
  await next.begin({ id: 'm/2', options: {} }, scope())
  await methods(next).set('t4', 'x')
  await next.rollback(scope())
  assert.equal(await methods(next).exists('t4'), 0)
  await rejects(next.begin({ id: 'm/3', options: { isolation: 'serializable' } }, scope()), 'INVALID_ARGUMENT')
})

test('redis: the outcome of a transaction whose answer was lost is final', async (t) => {
  const [connection, other] = [await connect(t), await connect(t)]
  await connection.begin({ id: 'm/lost', options: {} }, scope())
  await methods(connection).set('lost', 'x')
  const identity = await connection.identity(scope())
  assert.equal(await other.outcome(identity, scope()), 'rolled back')
  await rejects(connection.commit(scope()), 'UNAVAILABLE')
  assert.equal(connection.broken, true, 'it was ended, so that it cannot commit any more')
  assert.equal(await server.cli('exists', 'lost'), '0')
})

test('redis: a watched transaction conflicts at its commit, and a failed command is told', async (t) => {
  const connection = await connect(t)
  const db = methods(connection)
  await connection.begin({ id: 'm/watched', options: {} }, scope())
  await db.run(['watched'], async (session) => session.queue('SET', 'watched', 'mine'))
  await server.cli('set', 'watched', 'theirs')
  await rejects(connection.commit(scope()), 'CONFLICT')
  assert.equal(await db.get('watched'), 'theirs')
  await connection.begin({ id: 'm/wrong', options: {} }, scope())
  await db.lpush('watched', 'x')
  const identity = await connection.identity(scope())
  await rejects(connection.commit(scope()), 'INVALID_ARGUMENT', { reply: 'WRONGTYPE', failed: 0, done: 0 })
  assert.equal(await (await connect(t)).outcome(identity, scope()), 'rolled back')
})

test('redis: a commit whose answer comes late is lost, and found to be done', async (t) => {
  const connection = await connect(t)
  await connection.begin({ id: 'm/late', options: {} }, scope())
  const busy = `local function now() local t = redis.call('time') return t[1] * 1000 + t[2] / 1000 end
    local till = now() + 400 while now() < till do end`
  await methods(connection).script(busy)
  await methods(connection).set('late', 'x')
  const identity = await connection.identity(scope())
  await rejects(connection.commit(scope(200)), 'DEADLINE_EXCEEDED')
  assert.equal(connection.broken, true, 'so that its outcome is asked for')
  assert.equal(await (await connect(t)).outcome(identity, scope()), 'committed')
  assert.equal(await server.cli('get', 'late'), 'x')
})

test('redis: a commit that the server refuses, or that is late before it begins, keeps its connection', async (t) => {
  const connection = await connect(t)
  const db = methods(connection)
  await connection.begin({ id: 'm/unknown', options: {} }, scope())
  await db.command(['NOSUCH'])
  await rejects(connection.commit(scope()), 'INVALID_ARGUMENT', { reply: 'ERR' })
  await connection.begin({ id: 'm/before', options: {} }, scope())
  await db.set('before', 'x')
  await rejects(connection.commit(scope(-1)), 'DEADLINE_EXCEEDED')
  assert.equal(connection.broken, false)
  assert.equal(await db.exists('before'), 0)
})

test('redis: what has failed in a commit is told, also if its mark cannot be deleted', async (t) => {
  await server.cli('acl', 'setuser', 'keeper', 'on', '>pw', '~*', '+@all', '-del')
  const connection = await connect(t, { user: 'keeper', password: 'pw' })
  const db = methods(connection)
  await db.set('text', 'x')
  await connection.begin({ id: 'm/mark', options: {} }, scope())
  await db.lpush('text', 'x')
  await rejects(connection.commit(scope()), 'INVALID_ARGUMENT', { reply: 'WRONGTYPE', failed: 0, done: 0 })
})

test('redis: a user who may not use MULTI does nothing at all', async (t) => {
  await server.cli('acl', 'setuser', 'single', 'on', '>pw', '~*', '+@read', '+@write', '+@connection', '+info')
  const connection = await connect(t, { user: 'single', password: 'pw' })
  const db = methods(connection)
  await rejects(db.batch([['SET', 'one', 'x']]), 'FORBIDDEN')
  await connection.begin({ id: 'm/single', options: {} }, scope())
  await db.set('one', 'x')
  await rejects(connection.commit(scope()), 'FORBIDDEN')
  assert.equal(connection.broken, false)
  assert.equal(await server.cli('exists', 'one'), '0')
})

test('redis: a command that does not block and comes late loses its connection, and a script is not hung upon', async (t) => {
  const connection = await connect(t)
  const running = connection.call(
    'script',
    ['local t = redis.call("time")[1] + 2 while redis.call("time")[1] + 0 < t do end return 1'],
    scope(300),
  )
  await rejects(running, 'DEADLINE_EXCEEDED')
  assert.equal(connection.broken, true)
  await eventually('it serves again', () => server.cli('ping').then((said) => said === 'PONG'))
})

test('redis: half an answer and rubbish fail, and lose the connection', async (t) => {
  const hello = '%1\r\n+server\r\n+redis\r\n'
  const url = await startSockets(t, (socket) => {
    let commands = 0
    socket.on('data', (data) => {
      for (const word of String(data).match(/\b(hello|client|get)\b/gi) ?? []) {
        const name = word.toLowerCase()
        if (name === 'hello') socket.write(hello)
        else if (name === 'client' && commands++ === 0) socket.write(':7\r\n')
        else if (name === 'get') socket.end('$10\r\nhal')
      }
    })
  })
  const port = Number(new URL(url).port)
  const connection = await connect(t, { url: `redis://127.0.0.1:${port}` })
  await rejects(connection.call('get', ['x'], scope()), 'UNAVAILABLE')
  assert.equal(connection.broken, true)
  const rubbish = await startSockets(t, (socket) => void socket.write('220 mail.example ESMTP\r\n'))
  await rejects(connect(t, { url: rubbish.replace('http', 'redis') }), 'UNAVAILABLE')
})

test('redis: an encrypted server is verified, by default', async (t) => {
  const loopback = [{ type: 7, ip: '127.0.0.1' }]
  const [right, expired, elsewhere] = await Promise.all([
    certificates(t, loopback),
    certificates(t, loopback, 'test', new Date(Date.now() - 60_000)),
    certificates(t, [{ type: 2, value: 'elsewhere.example' }]),
  ])
  const noClients = ['--tls-auth-clients', 'no']
  const [a, b, c, demanding] = await Promise.all([
    startRedis(t, { tls: right, args: noClients }),
    startRedis(t, { tls: expired, args: noClients }),
    startRedis(t, { tls: elsewhere, args: noClients }),
    startRedis(t, { tls: right }),
  ])
  const ping = async ({ url }: RedisServer, tls: object): Promise<unknown> => await methods(await connect(t, { url, tls })).ping()
  const refused = (work: Promise<unknown>, words: RegExp): Promise<void> =>
    assert.rejects(work, (error: CageError) => error.code === 'UNAVAILABLE' && words.test(error.message))
  assert.equal(await ping(a, { caFile: right.ca }), 'PONG')
  await refused(ping(a, {}), /certificate is not trusted/)
  await refused(ping(b, { caFile: expired.ca }), /CERT_HAS_EXPIRED/)
  await refused(ping(c, { caFile: elsewhere.ca }), /ALTNAME/)
  assert.equal(await ping(c, { caFile: elsewhere.ca, serverName: 'elsewhere.example' }), 'PONG')
  assert.equal(await ping(demanding, { caFile: right.ca, certFile: right.cert, keyFile: right.key }), 'PONG')
  await refused(ping(demanding, { caFile: right.ca }), /./)
  const silent = scope(300)
  await refused(connect(t, { tls: { caFile: right.ca } }, [], silent), /does not answer/)
})

test('redis: TLS, database and user follow from the URL, unless options say otherwise; mistakes tell no password', () => {
  const of = (given: object): Record<string, unknown> => redisOptions.parse(given) as unknown as Record<string, unknown>
  assert.equal(of({ host: 'far.example' }).tls instanceof Object, true)
  assert.equal(of({ host: '127.0.0.1' }).tls, false)
  assert.deepEqual(of({ url: 'rediss://127.0.0.1/3' }).tls, { verify: true })
  assert.equal(of({ url: 'redis://127.0.0.1/3' }).database, 3)
  assert.deepEqual([of({ url: 'redis://me:p%40@h:1', tls: false }).user, of({ url: 'redis://me:p%40@h:1' }).password], ['me', 'p@'])
  for (const url of ['http://me:secret@h', 'redis://me:secret@h/x', 'redis://me:secret@h?x=1']) {
    assert.doesNotMatch(JSON.stringify(redisOptions.safeParse({ url }).error?.issues), /secret/)
  }
})
