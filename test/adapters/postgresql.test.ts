/** PostgreSQL as a resource: values, parameters, errors, and transactions of one and two phases. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type pg from 'pg'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { PostgresSession } from '../../src/adapters/postgresql/api.ts'
import { postgresOptions } from '../../src/adapters/postgresql/options.ts'
import { open } from '../../src/adapters/postgresql/resource.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type PostgresServer, plainClient, startPostgres } from '../support/postgres.ts'

let server: PostgresServer
let onePhase: PostgresServer
let outside: pg.Client

before(async () => {
  ;[server, onePhase] = await Promise.all([
    startPostgres(suite, { settings: { lc_messages: 'C' } }),
    startPostgres(suite, { settings: { max_prepared_transactions: 0 } }),
  ])
  outside = await plainClient(suite, server)
})

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(owner: Owner, { url }: PostgresServer = server, more: object = {}): Promise<ResourceConnection> {
  const resource = await open(postgresOptions.parse({ url, ...more }), { cage: 'c', name: 'ledger', log: recordingLog().log })
  const connection = await resource.connect(scope())
  atEnd(owner, () => connection.close())
  return connection
}

/** Its methods, as modules call them. */
function methods(
  connection: ResourceConnection,
  within_: () => Scope = scope,
): PostgresSession & { run: (...args: unknown[]) => Promise<unknown> } {
  const call =
    (method: string) =>
    (...args: unknown[]): Promise<unknown> =>
      connection.call(method, args, within_())
  return {
    execute: call('execute'),
    change: call('change'),
    batch: call('batch'),
    insertMany: call('insertMany'),
    run: call('run'),
  } as never
}

function rejects(work: Promise<unknown>, code: string, details?: object): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, code, error.message)
    if (details) assert.deepEqual(error.details, details)
    return true
  })
}

/** A branch's methods with the contract's optional ones there. */
function branchOf(connection: ResourceConnection): Required<ResourceConnection> {
  return connection as Required<ResourceConnection>
}

test('postgresql: values come exactly: bigint, numeric and dates as text, instants as Date, bytes, JSON, arrays', async (t) => {
  const db = methods(await connect(t))
  const [row] = await db.execute(
    `select 9223372036854775807::int8 as big, 0.10::numeric as money, 12345678901234567890.123456789::numeric as exact, date '2026-11-24' as day,
      timestamp '2026-11-24 10:11:12.123456' as local, timestamptz '2026-11-24 10:11:12.123+01' as instant, '\\x00ff'::bytea as bytes,
      '{"a":[1,null]}'::jsonb as json, array[1,null,3]::int8[] as bigs, array[[1.10],[2.20]]::numeric[] as nested, interval '1 day 2 hours' as span,
      true as yes, null as nothing, 1.5::float8 as float, 7::int4 as int, 'text' as text, array['2026-11-24']::date[] as days`,
  )
  assert.deepEqual(row, {
    ...{ big: 9223372036854775807n, money: '0.10', exact: '12345678901234567890.123456789', day: '2026-11-24' },
    ...{ local: '2026-11-24 10:11:12.123456', instant: new Date('2026-11-24T09:11:12.123Z'), bytes: Buffer.from([0, 255]) },
    ...{ json: { a: [1, null] }, bigs: [1n, null, 3n], nested: [['1.10'], ['2.20']], span: 'P1DT2H' },
    ...{ yes: true, nothing: null, float: 1.5, int: 7, text: 'text', days: ['2026-11-24'] },
  })
})

test('postgresql: a role whose settings say otherwise changes no value', async (t) => {
  await outside.query(`alter role postgres set datestyle = 'German'; alter role postgres set bytea_output = 'escape'`)
  atEnd(t, () => outside.query('alter role postgres reset all').then(() => {}))
  const db = methods(await connect(t))
  const [row] = await db.execute(`select date '2026-11-24' as day, timestamptz '2026-11-24 00:00+00' as instant, '\\x5c00'::bytea as bytes`)
  assert.deepEqual(row, { day: '2026-11-24', instant: new Date('2026-11-24T00:00:00Z'), bytes: Buffer.from([0x5c, 0]) })
})

test('postgresql: what is sent comes back as it was: by position and by name', async (t) => {
  const db = methods(await connect(t))
  const at = new Date('2026-02-03T04:05:06.789Z')
  const [row] = await db.execute(
    `select $1::int8 as big, $2::numeric as exact, $3::timestamptz as instant, $4::bytea as bytes, $5::jsonb as json, $6::int8[] as bigs, $7::text as nothing,
      $8::timestamptz[] as instants, $9::text[] as texts`,
    [2n ** 62n, '1.50', at, new Uint8Array([1, 0, 255]), { a: { b: [1] } }, [1n, null], undefined, [at], ['a,"b\\', '']],
  )
  assert.deepEqual(row, {
    ...{ big: 2n ** 62n, exact: '1.50', instant: at, bytes: Buffer.from([1, 0, 255]), json: { a: { b: [1] } } },
    ...{ bigs: [1n, null], nothing: null, instants: [at], texts: ['a,"b\\', ''] },
  })
  const named = await db.execute(
    `select :a::int + :b::int as sum, :a::int as again, ':a' as text, "c:a" as quoted, $$:a$$ as dollars /* :a */ -- :a
     from (select 1 as "c:a") as x where e'\\':a' = e'\\':a'`,
    { a: 1, b: 2, unused: 3 },
  )
  assert.deepEqual(named, [{ sum: 3, again: 1, text: ':a', quoted: 1, dollars: ':a' }])
})

test('postgresql: wrong parameters and SQL are told by name, without values', async (t) => {
  const db = methods(await connect(t))
  await assert.rejects(db.execute('select :name', { nmae: 'secret' }), /parameter :name has no value/)
  await rejects(db.execute('select $1 + :a', { a: 1 }), 'INVALID_ARGUMENT')
  await rejects(db.execute('select $1::date', [new Date(Number.NaN)]), 'INVALID_ARGUMENT')
  await rejects(db.execute('   '), 'INVALID_ARGUMENT')
  await rejects(db.execute('selec 1'), 'INVALID_ARGUMENT', { sqlState: '42601' })
  await rejects(db.execute('select 1; drop table x'), 'INVALID_ARGUMENT', { sqlState: '42601' })
  await assert.rejects(
    db.execute('select $1::int', ['secret']),
    (error: CageError) => !JSON.stringify([error.message, error.details, error.cause]).includes('secret'),
  )
  await assert.rejects(methods(await connect(t)).run('no function'), /run takes a function/)
  await assert.rejects((await connect(t)).call('exceute', [], scope()), /did you mean execute\?/)
})

test('postgresql: each class of errors has its code, with what the server names', async (t) => {
  const db = methods(await connect(t))
  await db.batch([
    'drop table if exists coded',
    'create table coded (id int primary key, n int not null check (n > 0))',
    'insert into coded values (1, 1)',
  ])
  await rejects(db.change('insert into coded values ($1, 1)', [1]), 'CONFLICT', {
    sqlState: '23505',
    constraint: 'coded_pkey',
    table: 'coded',
  })
  await rejects(db.change('insert into coded values (2, 0)'), 'CONFLICT', {
    sqlState: '23514',
    constraint: 'coded_n_check',
    table: 'coded',
  })
  await rejects(db.change('insert into coded values (2, null)'), 'CONFLICT', { sqlState: '23502', table: 'coded', column: 'n' })
  await rejects(db.execute('select * from nowhere'), 'INVALID_ARGUMENT', { sqlState: '42P01' })
  await rejects(db.execute('select 1 / 0'), 'INVALID_ARGUMENT', { sqlState: '22012' })
  await rejects(
    db.run((x: PostgresSession) => x.change('update coded set n = 2'), { readOnly: true }),
    'INVALID_ARGUMENT',
    { sqlState: '25006' },
  )
  assert.deepEqual(await db.execute('select * from coded'), [{ id: 1, n: 1 }])
})

test('postgresql: of two serializable transactions that collide one fails, and may be tried again', async (t) => {
  await outside.query('drop table if exists ssi; create table ssi (n int); insert into ssi values (1)')
  const [a, b] = [methods(await connect(t)), methods(await connect(t))]
  const sum = 'select sum(n)::int as n from ssi'
  const add = async (db: PostgresSession): Promise<unknown> => await db.change('insert into ssi values (1)')
  const failing = a.run(
    async (x: PostgresSession) => {
      await x.execute(sum)
      await b.run(async (y: PostgresSession) => [await y.execute(sum), await add(y)], { isolation: 'serializable' })
      await add(x)
    },
    { isolation: 'serializable' },
  )
  await assert.rejects(failing, (error: CageError) => error.code === 'CONFLICT' && error.retryable)
})

test('postgresql: change tells how many rows, batch is all or nothing, insertMany inserts values of every type', async (t) => {
  const db = methods(await connect(t))
  await db.batch([
    'drop table if exists bulk',
    'create table bulk (id int8 primary key, exact numeric, at timestamptz, bytes bytea, doc jsonb, tags text[], f float8, d text default $$none$$)',
  ])
  const at = new Date('2026-11-24T12:00:00.001Z')
  const rows = [
    {
      id: 2n ** 60n,
      exact: '0.30',
      at,
      bytes: new Uint8Array([0, 1]),
      doc: { a: [1, 'x'] },
      tags: ['a', 'b,c'],
      f: Number.POSITIVE_INFINITY,
    },
    { id: 2n, exact: null, at: null, bytes: null, doc: [1], tags: [], f: 0.1 },
  ]
  assert.equal(await db.insertMany('public.bulk', rows), 2)
  assert.deepEqual(await db.execute('select * from bulk order by id'), [
    { id: 2n, exact: null, at: null, bytes: null, doc: [1], tags: [], f: 0.1, d: 'none' },
    {
      id: 2n ** 60n,
      exact: '0.30',
      at,
      bytes: Buffer.from([0, 1]),
      doc: { a: [1, 'x'] },
      tags: ['a', 'b,c'],
      f: Number.POSITIVE_INFINITY,
      d: 'none',
    },
  ])
  assert.equal(await db.insertMany('bulk', []), 0)
  await assert.rejects(db.insertMany('bulk', [{ id: 3 }, { id: 4, f: 1 }]), /row 1 and row 0 differ in column f/)
  assert.equal(await db.change('update bulk set d = $1', ['x']), 2)
  await rejects(db.batch([['delete from bulk'], ['insert into bulk (id) values (:id)', { id: 9 }], 'select 1 / 0']), 'INVALID_ARGUMENT')
  assert.deepEqual(await db.batch(['select count(*)::int as n from bulk', ['select $1::int as m', [5]]]), [[{ n: 2 }], [{ m: 5 }]])
})

test('postgresql: run commits what resolves and rolls back what rejects, and its session ends with it', async (t) => {
  const connection = await connect(t)
  const db = methods(connection)
  await db.batch(['drop table if exists ran', 'create table ran (n int)'])
  let kept: PostgresSession | undefined
  const result = await db.run(async (session: PostgresSession) => {
    kept = session
    void session.change('insert into ran values (1)') // not awaited, and still part of it
    await Promise.all([session.change('insert into ran values (2)'), session.change('insert into ran values (3)')])
    return 'done'
  })
  assert.equal(result, 'done')
  await assert.rejects(kept?.execute('select 1') ?? Promise.resolve(), /the transaction has ended/)
  const mine = new Error('mine')
  await assert.rejects(
    db.run(async (session: PostgresSession) => {
      await session.change('delete from ran')
      throw mine
    }),
    (error) => error === mine,
  )
  const caught = db.run(async (session: PostgresSession) => await session.execute('select 1 / 0').catch(() => 'ignored'))
  await rejects(caught, 'CONFLICT') // a failed transaction cannot be committed
  assert.deepEqual(await db.execute('select n from ran order by n'), [{ n: 1 }, { n: 2 }, { n: 3 }])
  await assert.rejects(
    db.run(async () => {}, { isolaton: 'serializable' }),
    /did you mean isolation\?/,
  )
  assert.equal(connection.broken, false)
})

test('postgresql: what the work has not awaited is part of its transaction, to the last statement', async (t) => {
  const db = methods(await connect(t))
  await db.batch(['drop table if exists floating', 'create table floating (n int)'])
  const mine = new Error('mine')
  await assert.rejects(
    db.run(async (session: PostgresSession) => {
      void session.batch([1, 2, 3].map((n) => ['insert into floating values ($1)', [n]]))
      throw mine
    }),
    (error) => error === mine,
  )
  assert.deepEqual(await db.execute('select n from floating'), [])
})

test('postgresql: SQL that begins or ends a transaction by itself is refused, and leaves none', async (t) => {
  const first = await connect(t)
  await rejects(methods(first).execute('begin'), 'INVALID_ARGUMENT')
  assert.equal(first.broken, true)
  const second = await connect(t)
  await rejects(
    methods(second).run((session: PostgresSession) => session.execute('commit')),
    'INVALID_ARGUMENT',
  )
  assert.equal(second.broken, true)
})

test('postgresql: a statement that is late, or that nobody wants, is cancelled at the server; the connection lives', async (t) => {
  const connection = await connect(t, server, { applicationName: 'cancelled' })
  const running = async (): Promise<boolean> =>
    (await outside.query(`select 1 from pg_stat_activity where application_name = 'cancelled' and state = 'active'`)).rowCount === 1
  const late = rejects(connection.call('execute', ['select pg_sleep(60)'], scope(1_500)), 'DEADLINE_EXCEEDED')
  await eventually('it runs', running)
  await late
  assert.equal(await running(), false, 'when it rejects, the server has stopped')
  const gone = new AbortController()
  const unwanted = rejects(connection.call('execute', ['select pg_sleep(60)'], scope(20_000, gone.signal)), 'CANCELLED')
  await eventually('it runs', running)
  gone.abort()
  await unwanted
  assert.equal(await running(), false)
  assert.deepEqual(await connection.call('execute', ['select 1 as n'], scope()), [{ n: 1 }])
  assert.equal(connection.broken, false)
  await rejects(connection.call('execute', ['select 1'], scope(0)), 'DEADLINE_EXCEEDED')
})

test('postgresql: a prepared branch outlives its connection and is ended by its name, once and again', async (t) => {
  await outside.query('drop table if exists two; create table two (n int)')
  const [first, other] = [branchOf(await connect(t)), branchOf(await connect(t))]
  assert.equal(first.participant, 'prepared')
  for (const [id, decision] of [
    ['c/1.a-b_c', 'commit'],
    ['c/2', 'rollback'],
  ] as const) {
    const connection = branchOf(await connect(t))
    await connection.begin({ id, options: { isolation: 'serializable' } }, scope())
    await connection.call('change', ['insert into two values (1)'], scope())
    await connection.prepare(scope())
    await connection.close()
    const left = await other.leftovers('c/', scope())
    assert.deepEqual(
      left.map(({ branch }) => branch),
      [id],
    )
    assert.ok((left[0]?.ageMs ?? -1) >= 0)
    await other.finish(id, decision, scope())
    await other.finish(id, decision, scope())
  }
  assert.deepEqual(await other.leftovers('c/', scope()), [])
  await first.begin({ id: 'c/3', options: {} }, scope())
  await first.call('change', ['insert into two values (3)'], scope())
  await first.prepare(scope())
  await first.commit(scope())
  await first.begin({ id: 'c/4', options: {} }, scope())
  await first.call('change', ['delete from two'], scope())
  await first.prepare(scope())
  await first.rollback(scope())
  assert.deepEqual((await outside.query('select n from two order by n')).rows, [{ n: 1 }, { n: 3 }])
  await rejects(first.begin({ id: "c'", options: {} }, scope()), 'INVALID_ARGUMENT')
})

test('postgresql: a branch that cannot be prepared is rolled back, and the connection goes on', async (t) => {
  const connection = branchOf(await connect(t))
  await connection.begin({ id: 'd/1', options: {} }, scope())
  await rejects(connection.call('execute', ['select 1 / 0'], scope()), 'INVALID_ARGUMENT')
  await rejects(connection.prepare(scope()), 'CONFLICT')
  assert.equal(connection.broken, false)
  assert.deepEqual(await connection.call('execute', ['select 1 as n'], scope()), [{ n: 1 }])
})

test('postgresql: the outcome of a one-phase branch is found from another connection; an open one is ended', async (t) => {
  const other = branchOf(await connect(t, onePhase))
  assert.equal(other.participant, 'one-phase')
  await other.call('batch', [['create table if not exists one (n int)', 'delete from one']], scope())
  const branch = async (n: number): Promise<{ connection: Required<ResourceConnection>; identity: unknown }> => {
    const connection = branchOf(await connect(t, onePhase))
    await connection.begin({ id: `e/${n}`, options: {} }, scope())
    await connection.call('change', ['insert into one values ($1)', [n]], scope())
    return { connection, identity: structuredClone(await connection.identity(scope())) }
  }
  const [committed, undone, open_] = [await branch(1), await branch(2), await branch(3)]
  await committed.connection.commit(scope())
  await undone.connection.rollback(scope())
  assert.equal(await other.outcome(committed.identity, scope()), 'committed')
  assert.equal(await other.outcome(undone.identity, scope()), 'rolled back')
  assert.equal(await other.outcome(open_.identity, scope()), 'rolled back')
  await eventually('its session is known to have ended', () => open_.connection.broken)
  await rejects(open_.connection.commit(scope()), 'UNAVAILABLE')
  await open_.connection.rollback(scope())
  assert.deepEqual(await other.call('execute', ['select n from one'], scope()), [{ n: 1 }])
  await rejects(other.outcome({ xid: 1 }, scope()), 'INVALID_ARGUMENT')
  const reader = branchOf(await connect(t, onePhase))
  await reader.begin({ id: 'e/4', options: { readOnly: true } }, scope())
  assert.equal(await other.outcome(await reader.identity(scope()), scope()), 'committed', 'it could not have written')
})

test('postgresql: a transaction whose owner does nothing more ends at the server at its deadline', async (t) => {
  const connection = branchOf(await connect(t))
  await connection.begin({ id: 'f/1', options: {} }, scope(200))
  await eventually('the session has ended', () => connection.broken)
  await rejects(connection.call('execute', ['select 1'], scope()), 'UNAVAILABLE')
  await connection.rollback(scope())
})

test('postgresql: a session that is ended from outside rejects its statement and harms nobody', async (t) => {
  const connection = await connect(t, server, { applicationName: 'ended' })
  const running = rejects(connection.call('execute', ['select pg_sleep(60)'], scope()), 'UNAVAILABLE')
  const end = `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ended' and state = 'active'`
  await eventually('it runs', async () => (await outside.query(end)).rowCount === 1)
  await running
  assert.equal(connection.broken, true)
  await within('it can be closed', connection.close())
})

test('postgresql: twenty statements at once on one scope, and a session’s own settings', async (t) => {
  const warnings: Error[] = []
  const note = (warning: Error): void => void warnings.push(warning)
  process.on('warning', note)
  atEnd(t, () => void process.off('warning', note))
  const db = methods(await connect(t, server, { settings: { search_path: 'some, other', statement_timeout: 200 } }))
  assert.deepEqual(await db.execute('show search_path'), [{ search_path: 'some, other' }])
  await rejects(db.execute('select pg_sleep(60)'), 'DEADLINE_EXCEEDED', { sqlState: '57014' })
  const results = await db.run((session: PostgresSession) =>
    Promise.all(Array.from({ length: 20 }, (_, n) => session.execute('select $1::int as n', [n]))),
  )
  assert.deepEqual(
    results,
    Array.from({ length: 20 }, (_, n) => [{ n }]),
  )
  assert.deepEqual(
    warnings.map(({ message }) => message),
    [],
  )
})

test('postgresql: a server without prepared transactions is told once in the log', async () => {
  const { log, said } = recordingLog()
  const resource = await open(postgresOptions.parse({ url: onePhase.url }), { cage: 'c', name: 'ledger', log })
  for (let n = 0; n < 2; n++) await (await resource.connect(scope())).close()
  assert.deepEqual(
    said.map(({ level, fields }) => [level, fields.resource]),
    [['info', 'ledger']],
  )
})

test('postgresql: what is prepared survives a crash of the server', async (t) => {
  const own = await startPostgres(t)
  const first = branchOf(await connect(t, own))
  await first.call('execute', ['create table kept (n int)'], scope())
  await first.begin({ id: 'g/1', options: {} }, scope())
  await first.call('change', ['insert into kept values (1)'], scope())
  await first.prepare(scope())
  await own.crash()
  await own.restart()
  await eventually('its connection is known to be lost', () => first.broken)
  const second = branchOf(await connect(t, own))
  assert.deepEqual(
    (await second.leftovers('g/', scope())).map(({ branch }) => branch),
    ['g/1'],
  )
  await second.finish('g/1', 'commit', scope())
  assert.deepEqual(await second.call('execute', ['select n from kept'], scope()), [{ n: 1 }])
})
