/** MySQL as a resource: values, parameters, errors, transactions of one phase and XA, TLS; the server is MariaDB, and its own client looks on. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { MysqlResource, MysqlSession } from '../../src/adapters/mysql/api.ts'
import { MysqlConnection } from '../../src/adapters/mysql/connection.ts'
import { mysqlOptions } from '../../src/adapters/mysql/options.ts'
import { statement } from '../../src/adapters/mysql/parameters.ts'
import { open } from '../../src/adapters/mysql/resource.ts'
import type { Answer, Session } from '../../src/adapters/mysql/session.ts'
import { branchedOf, xidOf } from '../../src/adapters/mysql/xid.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { type MariadbServer, startMariadb } from '../support/mariadb.ts'
import { startSockets } from '../support/web.ts'

let server: MariadbServer
let right: CertificateFiles

before(async () => {
  right = await certificates(suite, [{ type: 7, ip: '127.0.0.1' }])
  server = await startMariadb(suite, { tls: right, args: ['--innodb-lock-wait-timeout=5'] })
  await server.sql(`grant process on *.* to shop@'127.0.0.1'`)
})

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(owner: Owner, options: object = {}, within_: Scope = scope()): Promise<Required<ResourceConnection>> {
  const resource = await open(mysqlOptions.parse({ url: server.url, ...options }), { cage: 'c', name: 'shop', log: recordingLog().log })
  const connection = await resource.connect(within_)
  atEnd(owner, () => connection.close())
  return connection as Required<ResourceConnection>
}

/** Its methods, as modules call them. */
function methods(connection: ResourceConnection): MysqlResource {
  return new Proxy({} as MysqlResource, {
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

test('mysql: values come and go without loss: bigint, decimals and dates as text, instants as Date, bytes, JSON', async (t) => {
  const db = methods(await connect(t))
  await db.execute(
    `create table vals (id bigint primary key, u bigint unsigned, d decimal(40, 20), f float, g double, day date, dt datetime(6), ts timestamp(3) null,
     ti time(6), b varbinary(20), bits bit(10), t text, j json, y year, small tinyint unsigned, no int)`,
  )
  const instant = new Date('2026-11-24T10:11:12.123Z')
  const columns = 'id, u, d, f, g, day, dt, ts, ti, b, bits, t, j, y, small, no'
  const given = {
    ...{ id: -(2n ** 63n), u: 2n ** 64n - 1n, d: '12345678901234567890.12345678901234567890', f: 1.5, g: 0.1, day: '2026-11-24' },
    ...{ dt: '2026-11-24 10:11:12.123456', ts: instant, ti: '-10:11:12.000001', b: new Uint8Array([0, 255, 39, 92]), bits: 513n },
    ...{ t: `grüße '"\\ 😀`, j: { a: [1, null] }, y: 2026, small: 255, no: undefined },
  }
  const marks = columns.replace(/\w+/g, ':$&')
  assert.equal(await db.change(`insert into vals (${columns}) values (${marks})`, given), 1)
  const [row] = await db.execute('select * from vals')
  assert.deepEqual(row, {
    ...{ ...given, b: Buffer.from([0, 255, 39, 92]), bits: Buffer.from([2, 1]), no: null, small: 255, y: 2026 },
    j: row?.j,
  })
  assert.deepEqual(typeof row?.j === 'string' ? JSON.parse(row.j) : row?.j, { a: [1, null] })
  assert.equal(
    await server.sql('select hex(b), u, d, ts from shop.vals'),
    '00FF275C\t18446744073709551615\t12345678901234567890.12345678901234567890\t2026-11-24 10:11:12.123',
  )
  assert.deepEqual(await db.execute('select id from vals where u = ? and id = ?', [2n ** 64n - 1n, -(2n ** 63n)]), [{ id: -(2n ** 63n) }])
  assert.deepEqual(await db.execute('select id from vals limit ?', [1]), [{ id: -(2n ** 63n) }])
  await rejects(db.change('update vals set small = 256'), 'INVALID_ARGUMENT')
})

test('mysql: names are found where the server would see them, and mistakes are told without values', async (t) => {
  const db = methods(await connect(t))
  assert.deepEqual(
    await db.execute(`select :a + :b as sum, :a as again, ':a' as text, "it''s :a" as quoted, @x := 1 as \`c:a\` /* :a */ -- :a\n # :a\n`, {
      a: 1,
      b: 2,
      unused: 3,
    }),
    [{ sum: 3n, again: 1n, text: ':a', quoted: "it''s :a", 'c:a': 1 }],
  )
  await assert.rejects(db.execute('select :name', { nmae: 'secret' }), /parameter :name has no value/)
  await rejects(db.execute('select ? + :a', { a: 1 }), 'INVALID_ARGUMENT')
  await rejects(db.execute('select ?', []), 'INVALID_ARGUMENT')
  for (const value of [Number.NaN, new Date(Number.NaN), () => {}, Symbol('x')])
    await rejects(db.execute('select ?', [value]), 'INVALID_ARGUMENT')
  await rejects(db.execute('select 1; select 2'), 'INVALID_ARGUMENT')
  await rejects(db.execute('  '), 'INVALID_ARGUMENT')
  await assert.rejects(
    db.execute(`selec 'secret'`),
    (error: CageError) => error.code === 'INVALID_ARGUMENT' && !/secret/.test(JSON.stringify(error)),
  )
  await assert.rejects((await connect(t)).call('exceute', [], scope()), /did you mean execute\?/)
  assert.deepEqual(statement('select `:a`, ?', [1n]).values.length, 1)
})

test('mysql: each class of errors has its code, without values', async (t) => {
  const db = methods(await connect(t))
  await db.execute('create table parents (id int primary key) engine=innodb')
  await db.execute(
    'create table coded (id int primary key, n int not null check (n > 0), p int, foreign key (p) references parents (id)) engine=innodb',
  )
  await db.change('insert into coded values (1, 1, null)')
  await rejects(db.change('insert into coded values (1, 1, null)'), 'CONFLICT', { errno: 1062, sqlState: '23000', constraint: 'PRIMARY' })
  await rejects(db.change('insert into coded values (2, 0, null)'), 'CONFLICT')
  await rejects(db.change('insert into coded values (2, 1, 7)'), 'CONFLICT')
  await rejects(db.change('insert into coded values (2, null, null)'), 'CONFLICT')
  await assert.rejects(
    db.execute('select * from nowhere'),
    (error: CageError) => error.code === 'INVALID_ARGUMENT' && /nowhere/.test(error.message),
  )
  await rejects(db.change('insert into coded values (?, 1, null)', ['secret']), 'INVALID_ARGUMENT')
  await rejects(db.execute('select * from mysql.user'), 'FORBIDDEN')
  await rejects(
    db.run((x) => x.change('update coded set n = 2'), { readOnly: true }),
    'INVALID_ARGUMENT',
  )
  await rejects(
    db.run(async () => 1, { isolation: 'none' as 'serializable' }),
    'INVALID_ARGUMENT',
  )
  await rejects(connect(t, { password: 'wrong' }), 'UNAUTHENTICATED')
  await rejects(connect(t, { database: 'nowhere' }), 'FORBIDDEN')
})

test('mysql: change tells how many rows, batch is all or nothing, insertMany inserts any number of rows', async (t) => {
  const db = methods(await connect(t))
  await db.execute('create table bulk (id bigint primary key, `a b` text, at timestamp(3) null) engine=innodb')
  const at = new Date('2026-11-24T12:00:00.001Z')
  const rows = Array.from({ length: 25_000 }, (_, n) => ({ id: BigInt(n), 'a b': `row ${n}`, at }))
  assert.equal(await db.insertMany('bulk', rows), 25_000)
  assert.deepEqual(await db.execute('select * from bulk where id = 24999'), [rows[24_999]])
  await rejects(
    db.insertMany('shop.bulk', [...rows.map((row) => ({ ...row, id: row.id + 25_000n })), { ...(rows[0] as object) }]),
    'CONFLICT',
  )
  assert.equal(await server.sql('select count(*) from shop.bulk'), '25000', 'none of them')
  assert.equal(await db.insertMany('bulk', []), 0)
  await rejects(db.insertMany('bulk', [{ id: 1 }, { id: 2, x: 1 }]), 'INVALID_ARGUMENT')
  assert.equal(await db.change('update bulk set at = null where id < ?', [10]), 10)
  await rejects(db.batch(['delete from bulk', ['insert into bulk (id) values (?), (?)', [1, 1]]]), 'CONFLICT')
  assert.deepEqual(await db.batch([['select count(*) as n from bulk'], ['delete from bulk where id = ?', [1]]]), [[{ n: 25_000n }], []])
})

test('mysql: a transaction is committed or not, isolated as asked for, and takes nothing after its end', async (t) => {
  const [db, other] = [methods(await connect(t)), methods(await connect(t))]
  await db.execute('create table tx (n int) engine=innodb')
  let kept: MysqlSession | undefined
  const result = await db.run(
    async (x) => {
      kept = x
      await x.change('insert into tx values (1)')
      assert.deepEqual(await other.execute('select * from tx'), [])
      return 'done'
    },
    { isolation: 'read committed' },
  )
  assert.equal(result, 'done')
  await rejects(kept?.execute('select 1') ?? Promise.resolve(), 'INVALID_ARGUMENT')
  const own = new Error('of the work')
  await assert.rejects(
    db.run(async (x) => {
      await x.change('insert into tx values (2)')
      throw own
    }),
    own,
  )
  assert.deepEqual(await other.execute('select * from tx'), [{ n: 1 }])
  await db.run(
    async (x) => {
      await x.execute('select * from tx')
      const levels = await server.sql(`select trx_isolation_level from information_schema.innodb_trx`)
      assert.equal(levels, 'SERIALIZABLE', 'seen from outside')
    },
    { isolation: 'serializable' },
  )
})

test('mysql: SQL that ends or begins a transaction costs the connection, and is an error', async (t) => {
  await methods(await connect(t)).execute('create table guarded (n int) engine=innodb')
  for (const sql of ['commit', 'create table sneaky (n int)', 'rollback']) {
    const connection = await connect(t)
    await rejects(
      methods(connection).run(async (x) => [await x.change('insert into guarded values (1)'), await x.execute(sql)]),
      'INVALID_ARGUMENT',
    )
    assert.equal(connection.broken, true, sql)
    await methods(await connect(t)).execute('drop table if exists sneaky')
  }
  const connection = await connect(t)
  await rejects(methods(connection).execute('start transaction'), 'INVALID_ARGUMENT')
  assert.equal(connection.broken, true)
})

test('mysql: a procedure that commits and returns rows costs the connection; one that only reads does not', async (t) => {
  const db = methods(await connect(t))
  await db.execute('create table called (n int) engine=innodb')
  await db.execute('create procedure reading() select n from called')
  await db.execute('create procedure committing() begin commit; select n from called; end')
  const call = async (x: MysqlSession, name: string): Promise<unknown> => [
    await x.change('insert into called values (1)'),
    await x.execute(`call ${name}()`),
  ]
  assert.deepEqual(await db.run((x) => call(x, 'reading')), [1, [{ n: 1 }]])
  assert.deepEqual(await db.execute('call committing()'), [{ n: 1 }], 'alone it is in nobody’s way')
  const connection = await connect(t)
  await rejects(
    methods(connection).run((x) => call(x, 'committing')),
    'INVALID_ARGUMENT',
  )
  assert.equal(connection.broken, true)
})

test('mysql: what the work has not awaited is part of its transaction, to the last statement', async (t) => {
  const db = methods(await connect(t))
  await db.execute('create table floating (n int) engine=innodb')
  const own = new Error('of the work')
  const batch = [1, 2, 3].map((n): [string, unknown[]] => ['insert into floating values (?)', [n]])
  await assert.rejects(
    db.run(async (x) => {
      void x.batch(batch)
      throw own
    }),
    own,
  )
  assert.deepEqual(await db.execute('select * from floating'), [])
  await db.run(async (x) => void x.batch(batch))
  assert.deepEqual(await db.execute('select n from floating order by n'), [{ n: 1 }, { n: 2 }, { n: 3 }])
})

test('mysql: of two transactions in each other’s way one fails whole, and may be tried again', async (t) => {
  const [a, b] = [methods(await connect(t)), methods(await connect(t))]
  await a.execute('create table dead (id int primary key, n int) engine=innodb')
  await a.execute('insert into dead values (1, 0), (2, 0)')
  const update = (x: MysqlSession, id: number): Promise<number> => x.change('update dead set n = n + 1 where id = ?', [id])
  let ready = 0
  const both = (): Promise<true> => eventually('both hold a row', () => ready >= 2)
  const work = (first: number, second: number) => async (x: MysqlSession) => {
    await update(x, first)
    ready++
    await both()
    try {
      await update(x, second)
    } catch (error) {
      await rejects(update(x, 1), 'CONFLICT') // it would be done outside of the transaction
      throw error
    }
  }
  const ends = await Promise.allSettled([a.run(work(1, 2)), b.run(work(2, 1))])
  const failed = ends.filter((end) => end.status === 'rejected').map(({ reason }) => reason as CageError)
  assert.deepEqual(
    failed.map(({ code, retryable }) => [code, retryable]),
    [['CONFLICT', true]],
  )
  assert.deepEqual(await a.execute('select n from dead'), [{ n: 1 }, { n: 1 }])
})

test('mysql: a prepared branch is committed by another connection, although the one that prepared it is there, or gone, or the server died', async (t) => {
  const db = methods(await connect(t))
  await db.execute('create table xa (n int primary key) engine=innodb')
  const prepared = async (id: string, n: number): Promise<Required<ResourceConnection>> => {
    const connection = await connect(t)
    assert.equal(connection.participant, 'prepared')
    await connection.begin({ id, options: { isolation: 'read committed' } }, scope())
    await methods(connection).change('insert into xa values (?)', [n])
    await connection.prepare(scope())
    return connection
  }
  const own = await prepared('m/i/c/t1/0', 1)
  await own.commit(scope())
  assert.equal(await methods(own).change('insert into xa values (2)'), 1, 'it serves on')
  const there = await prepared('m/i/c/t2/0', 3)
  const other = await connect(t)
  assert.deepEqual(
    (await other.leftovers('m/i/', scope())).map(({ branch }) => branch),
    ['m/i/c/t2/0'],
  )
  await other.finish('m/i/c/t2/0', 'commit', scope())
  await eventually('the one that has prepared it has ended', () => there.broken)
  const gone = await prepared('m/i/c/t3/0', 4)
  await gone.close()
  await other.finish('m/i/c/t3/0', 'rollback', scope())
  await other.finish('m/i/c/t3/0', 'rollback', scope()) // ended before
  const long = `${'m/i/c/'}${'x'.repeat(144)}`
  await prepared(long, 5)
  await server.kill()
  await server.start()
  const after = await connect(t)
  const [left] = await after.leftovers('m/', scope())
  assert.deepEqual(left?.branch, long)
  assert.ok((await after.leftovers('m/', scope()))[0]?.ageMs !== undefined)
  await after.finish(long, 'commit', scope())
  assert.deepEqual(await after.leftovers('m/', scope()), [])
  assert.deepEqual(await methods(after).execute('select n from xa order by n'), [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 5 }])
})

/** A connection whose server answers so. */
function scripted(answer: (sql: string) => Record<string, unknown>[] | CageError): { connection: MysqlConnection; said: string[] } {
  const said: string[] = []
  const session = {
    facts: { id: 1, isMariadb: true, version: 10_011 },
    broken: false,
    settled: async () => {},
    destroy(): void {
      this.broken = true
    },
    async query(sql: string): Promise<Answer> {
      said.push(sql)
      const rows = answer(sql)
      if (rows instanceof CageError) throw rows
      return { rows, rowCount: rows.length, inTransaction: undefined }
    },
  }
  return { connection: new MysqlConnection(session as unknown as Session, 'shop', true, new Map()), said } // as much of one as is used
}

function refusal(errno: number): CageError {
  return new CageError('CONFLICT', 'refused', { details: { errno, sqlState: 'XA000' } })
}

test('mysql: a branch that somebody else has just ended costs nobody’s connection', async () => {
  const [data, formatID] = [xidOf('m/i/c/t9/0', 77), 77]
  let isThere = true
  const { connection, said } = scripted((sql) => {
    if (sql.startsWith('XA RECOVER')) return isThere ? [{ data, formatID }] : []
    isThere = false
    return refusal(1397)
  })
  await connection.finish('m/i/c/t9/0', 'commit', scope())
  assert.deepEqual(
    said.map((sql) => sql.split(' ', 2).join(' ')),
    ['XA RECOVER', 'XA COMMIT', 'XA RECOVER'],
  )
})

test('mysql: a commit that is too late to be sent is rolled back, and costs no connection', async (t) => {
  for (const xa of [false, true]) {
    const connection = await connect(t, { xa })
    const db = methods(connection)
    await db.execute('create table if not exists too_late (n int) engine=innodb')
    await connection.begin({ id: 'm/late', options: {} }, scope())
    await db.change('insert into too_late values (1)')
    await rejects(connection.commit(scope(0)), 'DEADLINE_EXCEEDED')
    assert.equal(connection.broken, false)
    assert.deepEqual(await db.execute('select * from too_late'), [])
  }
})

test('mysql: a commit that the server refuses is not committed, and costs no connection', async () => {
  for (const errno of [1180, 1213, 1402, 1613, 1614]) {
    const { connection, said } = scripted((sql) => (/ONE PHASE/.test(sql) ? refusal(errno) : /XA ROLLBACK/.test(sql) ? refusal(1397) : []))
    await connection.begin({ id: 'm/refused', options: {} }, scope())
    await rejects(connection.commit(scope()), 'CONFLICT', { errno, sqlState: 'XA000' })
    assert.equal(connection.broken, false, said.join('; '))
  }
  const { connection } = scripted((sql) => (/ONE PHASE/.test(sql) ? refusal(2013) : []))
  await connection.begin({ id: 'm/unknown', options: {} }, scope())
  await rejects(connection.commit(scope()), 'CONFLICT')
  assert.equal(connection.broken, true, 'nobody knows')
})

test('mysql: a branch is rolled back before and after it was prepared, and one that has failed commits nothing', async (t) => {
  const connection = await connect(t)
  const db = methods(connection)
  await db.execute('create table xb (n int primary key) engine=innodb')
  for (const prepare of [false, true]) {
    await connection.begin({ id: `m/rb/${prepare}`, options: {} }, scope())
    await db.change('insert into xb values (1)')
    if (prepare) await connection.prepare(scope())
    await connection.rollback(scope())
    assert.deepEqual(await db.execute('select * from xb'), [])
  }
  await connection.begin({ id: 'm/alone', options: {} }, scope())
  await db.change('insert into xb values (7)')
  await connection.commit(scope())
  assert.deepEqual(await db.execute('select * from xb'), [{ n: 7 }], 'unprepared, in one phase')
  await rejects(connection.begin({ id: 'no/such id', options: {} }, scope()), 'INVALID_ARGUMENT')
  await rejects(connection.begin({ id: 'm/o', options: { isolatoin: 1 } }, scope()), 'INVALID_ARGUMENT')
  assert.deepEqual(await connection.leftovers('m/', scope()), [])
  const plain = await connect(t, { xa: false })
  assert.equal(plain.participant, 'one-phase')
  await plain.begin({ id: 'm/plain', options: {} }, scope())
  await methods(plain).change('insert into xb values (8)')
  await plain.commit(scope())
  assert.equal(await server.sql('select count(*) from shop.xb'), '2')
})

test('mysql: a branch’s id is found again in both servers’ words, whatever its length', () => {
  for (const id of ['m', 'm/a-b_c.d/0', 'x'.repeat(64), 'x'.repeat(128), `m/${'y9_-/.'.repeat(24)}z`]) {
    const [gtrid = '', bqual = '', format] = xidOf(id, 2 ** 31 + 5).split(',')
    assert.equal(format, '5')
    const hex = `${gtrid}${bqual}`.replace(/x?'/g, '')
    assert.ok(gtrid.length <= 131 && bqual.length <= 131)
    assert.deepEqual(branchedOf(`${gtrid.toUpperCase()},${bqual},5`, 5), { id, session: 5 })
    assert.deepEqual(branchedOf(`0x${hex}`, 5), { id, session: 5 })
  }
  assert.equal(branchedOf("'other program''s',1", 1), undefined)
  assert.throws(() => xidOf('x'.repeat(151), 1), /no id of a branch/)
})

test('mysql: a late transaction is rolled back, and a kill hits nothing that comes after', async (t) => {
  const connection = await connect(t)
  const db = methods(connection)
  await db.execute('create table late (n int) engine=innodb')
  await rejects(
    connection.call(
      'run',
      [async (x: MysqlSession) => [await x.change('insert into late values (1)'), await x.execute('select sleep(60)')]],
      scope(300),
    ),
    'DEADLINE_EXCEEDED',
  )
  assert.deepEqual(await db.execute('select * from late'), [])
  assert.equal(connection.broken, false)
  for (let n = 0; n < 10; n++) {
    await rejects(connection.call('execute', ['select sleep(60)'], scope(20)), 'DEADLINE_EXCEEDED')
    assert.deepEqual(await db.execute('select sleep(0.01) as slept'), [{ slept: 0 }])
  }
})

test('mysql: settings are each session’s, whatever the server’s are', async (t) => {
  const db = methods(await connect(t, { settings: { lock_wait_timeout: 7, character_set_results: 'utf8mb4' } }))
  assert.deepEqual(await db.execute('select @@lock_wait_timeout as n, @@time_zone as tz'), [{ n: 7n, tz: '+00:00' }])
  await rejects(connect(t, { settings: { no_such_variable: 1 } }), 'INVALID_ARGUMENT', { errno: 1193, sqlState: 'HY000' })
})

test('mysql: silence, rubbish and half an answer fail within the deadline', async (t) => {
  const at = (url: string): object => ({ url: url.replace('http', 'mysql'), user: 'x' })
  await rejects(connect(t, at(await startSockets(t, () => {})), scope(200)), 'UNAVAILABLE')
  await rejects(connect(t, at(await startSockets(t, (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')))), 'UNAVAILABLE')
  await rejects(connect(t, at(await startSockets(t, (socket) => void socket.end(Buffer.from([0x4a, 0, 0, 0, 10, 0x35]))))), 'UNAVAILABLE')
})

test('mysql: an encrypted server is verified, by default: authority, name and date', async (t) => {
  const who = async (owner: Owner, target: MariadbServer, tls: object): Promise<unknown> =>
    (await methods(await connect(owner, { url: target.url, tls })).execute(`show status like 'Ssl_version'`))[0]?.Value
  const refused = (work: Promise<unknown>, words: RegExp): Promise<void> =>
    assert.rejects(work, (error: CageError) => error.code === 'UNAVAILABLE' && words.test(error.message))
  assert.match(String(await who(t, server, { caFile: right.ca })), /^TLS/)
  await refused(who(t, server, {}), /certificate is not trusted/)
  const [expired, elsewhere] = await Promise.all([
    certificates(t, [{ type: 7, ip: '127.0.0.1' }], 'test', new Date(Date.now() - 60_000)),
    certificates(t, [{ type: 2, value: 'localhost' }]),
  ])
  const [old, other] = await Promise.all([startMariadb(t, { tls: expired }), startMariadb(t, { tls: elsewhere })])
  await refused(who(t, old, { caFile: expired.ca }), /certificate has expired/)
  await refused(who(t, other, { caFile: elsewhere.ca }), /altnames/)
  assert.match(String(await who(t, other, { caFile: elsewhere.ca, serverName: 'localhost' })), /^TLS/)
  assert.match(String(await who(t, old, { verify: false })), /^TLS/)
  const connection = await connect(t, { tls: { caFile: right.ca } })
  await rejects(connection.call('execute', ['select sleep(60)'], scope(200)), 'DEADLINE_EXCEEDED')
  assert.equal(connection.broken, false, 'what is killed is killed over TLS too')
  await within('it closes', connection.close())
})
