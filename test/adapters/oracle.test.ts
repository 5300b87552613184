/**
 * Oracle as a resource: what the driver is told and what is made of its answers, with a stand-in for it; every way that connecting fails, with the driver
 * itself and a listener of ours; and, with ORACLE_URL (`user/password@connectString`), all that a database does, against that database.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import oracledb from 'oracledb'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { OracleResource } from '../../src/adapters/oracle/api.ts'
import type { OracleDriver } from '../../src/adapters/oracle/driver.ts'
import { fromOracle } from '../../src/adapters/oracle/errors.ts'
import { oracleOptions } from '../../src/adapters/oracle/options.ts'
import { open } from '../../src/adapters/oracle/resource.ts'
import { fetchTypeHandler } from '../../src/adapters/oracle/values.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { FakeOracle, ORACLE_URL, oracleError, packet, redirection, refusal, startTnsListener } from '../support/oracle.ts'

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(t: TestContext, given: object, driver?: OracleDriver, limitMs?: number): Promise<ResourceConnection> {
  const resource = await open(oracleOptions.parse(given), { cage: 'c', name: 'erp', log: recordingLog().log }, driver)
  const connection = await resource.connect(scope(limitMs))
  atEnd(t, () => connection.close())
  return connection
}

interface Bench {
  oracle: FakeOracle
  connection: Required<ResourceConnection>
  db: OracleResource
}

async function bench(t: TestContext, more: object = {}): Promise<Bench> {
  const oracle = new FakeOracle()
  const connection = (await connect(
    t,
    { connectString: 'h/s', user: 'app', password: 'secret', ...more },
    oracle,
  )) as Required<ResourceConnection>
  return { oracle, connection, db: methods(connection) }
}

/** Its methods, as modules call them. */
function methods(connection: ResourceConnection): OracleResource {
  const make =
    (method: string) =>
    (...args: unknown[]) =>
      connection.call(method, args, scope())
  return new Proxy({}, { get: (_, method) => make(String(method)) }) as OracleResource
}

function rejects(work: Promise<unknown>, code: string, check: (error: CageError) => void = () => {}): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, code, error.message)
    check(error)
    return true
  })
}

test('oracle: a call alone is committed with its round trip, and has the deadline’s limit', async (t) => {
  const { oracle, db } = await bench(t)
  oracle.behaviour = ({ sql }) => (sql.startsWith('select') ? { rows: [{ A: '1' }] } : { rowsAffected: 3 })
  assert.deepEqual(await db.execute('select a from t where b = :b and c = :c', { b: 1n, c: undefined }), [{ A: '1' }])
  assert.equal(await db.change('update t set a = :1', [new Uint8Array([1])]), 3)
  assert.deepEqual(await db.execute('update t set a = 1'), [])
  const [select, update] = oracle.statements
  assert.deepEqual(select?.binds, { b: 1n, c: null })
  assert.deepEqual(update?.binds, [Buffer.from([1])])
  assert.deepEqual([select?.options.autoCommit, select?.options.outFormat, select?.options.maxRows], [true, oracledb.OUT_FORMAT_OBJECT, 0])
  assert.ok(oracle.timeouts.every((timeout) => Number(timeout) > 19_000 && Number(timeout) <= 20_000))
  assert.ok(!oracle.said.includes('commit'))
})

test('oracle: a session says who it is, and has the settings that were asked for', async (t) => {
  const oracle = new FakeOracle()
  const began: string[] = []
  oracle.behaviour = ({ sql }) => void began.push(sql)
  await connect(
    t,
    {
      connectString: 'tcps://h:1/s',
      user: 'app',
      password: 'p',
      walletDir: '/w',
      walletPassword: 'x',
      settings: { current_schema: 'erp', time_zone: 'UTC' },
    },
    oracle,
  )
  assert.deepEqual(began, [
    `alter session set nls_numeric_characters = '.,'`,
    `alter session set current_schema = "ERP"`,
    `alter session set time_zone = 'UTC'`,
  ])
  const { connectString, user, password, walletLocation, walletPassword, connectTimeout, expireTime } = oracle.attributes ?? {}
  assert.deepEqual(
    { connectString, user, password, walletLocation, walletPassword, connectTimeout, expireTime },
    {
      connectString: 'tcps://h:1/s',
      user: 'app',
      password: 'p',
      walletLocation: '/w',
      walletPassword: 'x',
      connectTimeout: 20,
      expireTime: 1,
    },
  )
  assert.deepEqual(
    [...oracle.open].map(({ module }) => module),
    ['menagerie'],
  )
})

test('oracle: OUT binds come back by name, with ref cursors as rows and large objects as text, and are committed after that', async (t) => {
  const { oracle, db } = await bench(t)
  const order: string[] = []
  const cursor = {
    async getRows() {
      order.push('rows')
      return [{ N: '1' }]
    },
    async close() {
      order.push('closed')
    },
  }
  const lob = { getData: async () => 'a long text' }
  oracle.behaviour = ({ sql }) => {
    if (sql === 'commit') order.push('commit')
    return sql === 'commit' ? undefined : { outBinds: { sum: '12345678901234567890.12', entries: cursor, text: lob, n: '2' } }
  }
  const binds = { account: 7, sum: { out: 'number' }, entries: { out: 'cursor' }, text: { out: 'clob' }, n: { inout: 'number', value: 1 } }
  assert.deepEqual(await db.call('begin erp.list(:account, :sum, :entries, :text, :n); end;', binds), {
    ...{ sum: '12345678901234567890.12', entries: [{ N: '1' }], text: 'a long text', n: '2' },
  })
  assert.deepEqual(order, ['rows', 'closed', 'commit'])
  assert.deepEqual(oracle.statements[0]?.binds, {
    account: 7,
    sum: { dir: oracledb.BIND_OUT, type: oracledb.DB_TYPE_VARCHAR, maxSize: 64 },
    entries: { dir: oracledb.BIND_OUT, type: oracledb.DB_TYPE_CURSOR },
    text: { dir: oracledb.BIND_OUT, type: oracledb.DB_TYPE_CLOB },
    n: { dir: oracledb.BIND_INOUT, type: oracledb.DB_TYPE_VARCHAR, val: '1', maxSize: 64 },
  })
  oracle.behaviour = () => ({ outBinds: ['x', lob] })
  assert.deepEqual(await db.call('begin p(:1, :2); end;', [{ out: 'text' }, { out: 'clob' }]), ['x', 'a long text'])
  oracle.behaviour = () => undefined
  assert.deepEqual(await db.call('begin p; end;'), {})
})

test('oracle: no digit is lost, and large objects come as text and bytes', () => {
  const fetched = (dbType: unknown, precision?: number, scale?: number): unknown =>
    fetchTypeHandler({ dbType, precision, scale } as never)?.type
  assert.equal(fetched(oracledb.DB_TYPE_NUMBER, 15, 0), undefined)
  assert.equal(fetched(oracledb.DB_TYPE_NUMBER, 16, 0), oracledb.DB_TYPE_VARCHAR)
  assert.equal(fetched(oracledb.DB_TYPE_NUMBER, 10, 2), oracledb.DB_TYPE_VARCHAR)
  assert.equal(fetched(oracledb.DB_TYPE_NUMBER, 0, -127), oracledb.DB_TYPE_VARCHAR)
  assert.equal(fetched(oracledb.DB_TYPE_NUMBER, 0, 0), oracledb.DB_TYPE_VARCHAR)
  assert.equal(fetched(oracledb.DB_TYPE_BINARY_DOUBLE), undefined)
  assert.equal(fetched(oracledb.DB_TYPE_CLOB), oracledb.DB_TYPE_VARCHAR)
  assert.equal(fetched(oracledb.DB_TYPE_BLOB), oracledb.DB_TYPE_RAW)
})

test('oracle: what cannot be bound is refused by its name, and not told', async (t) => {
  const { oracle, db } = await bench(t)
  const refused = (binds: unknown, message: RegExp): Promise<void> =>
    rejects(db.call('begin p(:a); end;', binds as []), 'INVALID_ARGUMENT', (error) => assert.match(error.message, message))
  await refused({ a: { secret: 1 } }, /^bind :a has no secret$/)
  await refused({ a: { out: 'string' } }, /^bind :a is none of text, number/)
  await refused({ a: { out: 'text', maxSiz: 1 } }, /did you mean maxSize\?/)
  await refused({ a: { inout: 'cursor', value: 1 } }, /a cursor only comes out/)
  await refused([new Set()], /^bind :1 is no value that Oracle has$/)
  await refused([Number.NaN], /^bind :1 is no number$/)
  await refused([new Date(Number.NaN)], /no value that Oracle has/)
  await refused(7, /a list, or an object by their names/)
  await rejects(db.execute('select :a from dual', { a: { out: 'text' } }), 'INVALID_ARGUMENT')
  await rejects(db.execute(' '), 'INVALID_ARGUMENT')
  await rejects((db as unknown as { executed(): Promise<unknown> }).executed(), 'INVALID_ARGUMENT', ({ message }) =>
    assert.match(message, /did you mean execute\?/),
  )
  assert.deepEqual(oracle.statements, [])
})

test('oracle: run and batch commit what resolves and roll back what rejects', async (t) => {
  const { oracle, db } = await bench(t)
  oracle.behaviour = ({ sql }) => (sql === 'bad' ? oracleError('ORA-00942', 'table or view does not exist') : { rows: [1] })
  const result = await db.run(
    async (session) => {
      await session.change('one')
      return await session.execute('two')
    },
    { isolation: 'serializable' },
  )
  assert.deepEqual(result, [1])
  assert.deepEqual(oracle.said.splice(0), ['set transaction isolation level serializable', 'one', 'two', 'commit'])
  assert.equal(oracle.statements.at(-1)?.options.autoCommit, false)
  assert.deepEqual(await db.batch(['one', ['two', [1]]]), [[1], [1]])
  assert.deepEqual(oracle.said.splice(0), ['one', 'two', 'commit'])
  await rejects(db.batch(['one', 'bad']), 'INVALID_ARGUMENT', (error) => {
    assert.equal(error.message, 'erp: table or view does not exist')
    assert.deepEqual(error.details, { oracleCode: 'ORA-00942' })
  })
  assert.deepEqual(oracle.said.splice(0), ['one', 'bad', 'rollback'])
  await rejects(
    db.run(async () => {}, { isolation: 'snapshot' } as never),
    'INVALID_ARGUMENT',
  )
  assert.equal(await db.executeMany('insert', []), 0)
  oracle.behaviour = () => ({ rowsAffected: 2 })
  assert.equal(await db.executeMany('insert into t values (:a)', [{ a: 1n }, { a: null }]), 2)
  assert.deepEqual(oracle.said, ['insert into t values (:a)', 'commit'])
})

test('oracle: what the work has not awaited is part of its transaction, to the last statement', async (t) => {
  const { oracle, db } = await bench(t)
  await db.run(async (session) => void session.batch(['one', 'two', 'three']))
  assert.deepEqual(oracle.said, ['one', 'two', 'three', 'commit'])
  assert.ok(oracle.statements.every(({ options }) => options.autoCommit === false))
})

test('oracle: a branch commits or rolls back, and what became of a lost one is asked for by its name', async (t) => {
  const { oracle, connection } = await bench(t)
  const branch = { id: 'b', options: {} }
  assert.equal(connection.participant, 'one-phase')
  await connection.begin(branch, scope())
  await connection.call('change', ['one'], scope())
  assert.deepEqual(await connection.identity(scope()), { ltxid: null })
  assert.equal(await connection.outcome({ ltxid: null }, scope()), 'unknown')
  await connection.rollback(scope())
  oracle.ltxid = Buffer.from([1, 0xff])
  await connection.begin(branch, scope())
  const identity = await connection.identity(scope())
  assert.deepEqual(identity, { ltxid: '01ff' })
  await connection.commit(scope())
  for (const [committed, outcome] of [
    [1, 'committed'],
    [0, 'rolled back'],
  ] as const) {
    oracle.behaviour = () => ({ outBinds: { committed } })
    assert.equal(await connection.outcome(identity, scope()), outcome)
  }
  const asked = oracle.statements.at(-1)?.binds as { ltxid: { val: Buffer } } | undefined
  assert.deepEqual(asked?.ltxid.val, Buffer.from([1, 0xff]))
  await rejects(connection.outcome({ ltxid: 'x' }, scope()), 'INVALID_ARGUMENT')
  await connection.begin(branch, scope())
  oracle.behaviour = ({ sql }) => (sql === 'commit' ? oracleError('NJS-500', 'connection was closed or broken') : undefined)
  await rejects(connection.commit(scope()), 'UNAVAILABLE')
  assert.equal(connection.broken, true)
})

test('oracle: a commit that is too late to be sent is rolled back, and costs no connection', async (t) => {
  const { oracle, connection } = await bench(t)
  await connection.begin({ id: 'b', options: {} }, scope())
  await connection.call('change', ['one'], scope())
  await rejects(connection.commit(scope(0)), 'DEADLINE_EXCEEDED')
  assert.deepEqual(oracle.said, ['one', 'rollback'])
  assert.equal(connection.broken, false)
})

test('oracle: what is late or unwanted is broken at the database; a database that does not answer costs the connection', async (t) => {
  const { oracle, connection } = await bench(t)
  oracle.behaviour = () => 'slow'
  await rejects(connection.call('execute', ['slow'], scope(100)), 'DEADLINE_EXCEEDED')
  const leaving = new AbortController()
  const left = rejects(connection.call('execute', ['slow'], scope(20_000, leaving.signal)), 'CANCELLED')
  await eventually('it runs', () => oracle.running === 1)
  leaving.abort()
  await left
  assert.deepEqual(oracle.said, ['slow', 'break', 'slow', 'break'])
  assert.equal(connection.broken, false)
  oracle.frozen = true
  await rejects(connection.call('execute', ['slow'], scope(50)), 'DEADLINE_EXCEEDED')
  assert.equal(connection.broken, true)
  await rejects(connection.call('execute', ['next'], scope()), 'UNAVAILABLE')
})

test('oracle: a break that comes too late hits no later statement', async (t) => {
  const { oracle, connection } = await bench(t)
  oracle.behaviour = ({ sql }) => (sql === 'slow' ? 'slow' : { rowsAffected: 1 })
  oracle.breaksLate = true
  await rejects(connection.call('execute', ['slow'], scope(100)), 'DEADLINE_EXCEEDED')
  assert.equal(await connection.call('change', ['next'], scope()), 1)
  assert.equal(connection.broken, false)
})

test('oracle: errors have our codes, and tell neither values nor hosts', () => {
  for (const [code, message, ours, retryable] of [
    ['ORA-00001', 'unique constraint (APP.U) violated on table APP.T columns (EMAIL) with value secret', 'CONFLICT', false],
    ['ORA-02291', 'integrity constraint violated - parent key not found', 'CONFLICT', false],
    ['ORA-00060', 'deadlock detected while waiting for resource', 'CONFLICT', true],
    ['ORA-08177', "can't serialize access for this transaction", 'CONFLICT', true],
    ['ORA-00054', 'resource busy', 'CONFLICT', true],
    ['ORA-01722', "invalid number 'secret'", 'INVALID_ARGUMENT', false],
    ['ORA-12899', 'value too large: secret', 'INVALID_ARGUMENT', false],
    ['ORA-00904', '"NAME": invalid identifier', 'INVALID_ARGUMENT', false],
    ['ORA-20001', 'the account is closed', 'INVALID_ARGUMENT', false],
    ['ORA-06550', 'line 1, column 7: PLS-00201', 'INVALID_ARGUMENT', false],
    ['ORA-01403', 'no data found', 'NOT_FOUND', false],
    ['ORA-01013', 'user requested cancel', 'CANCELLED', false],
    ['ORA-01031', 'insufficient privileges', 'FORBIDDEN', false],
    ['ORA-28000', 'the account is locked', 'UNAUTHENTICATED', true],
    ['ORA-01653', 'unable to extend table', 'OVERLOADED', true],
    ['ORA-12541', 'no listener at host secret', 'UNAVAILABLE', true],
    ['ORA-03113', 'end-of-file on communication channel', 'UNAVAILABLE', true],
    ['NJS-511', 'connection to listener at host secret port 1521 was refused. Cause: ORA-12519', 'OVERLOADED', true],
    ['NJS-511', 'connection to listener at host secret port 1521 was refused. Cause: ORA-12528', 'UNAVAILABLE', true],
    ['NJS-123', 'call timeout of 5 ms exceeded', 'DEADLINE_EXCEEDED', true],
    ['NJS-098', '2 bind placeholders were used in the SQL statement but 1 bind values', 'INVALID_ARGUMENT', false],
    ['NJS-106', 'internal error', 'INTERNAL', true],
    ['ORA-00600', 'internal error code', 'INTERNAL', true],
  ] as const) {
    const error = fromOracle(oracleError(code, message), 'erp')
    assert.deepEqual([code, error.code, error.retryable], [code, ours, retryable])
    assert.doesNotMatch(error.message, /secret|https/)
  }
  assert.equal(fromOracle(new TypeError('x'), 'erp').code, 'INTERNAL')
})

test('oracle: a listener that refuses, redirects, is silent, hangs up or talks rubbish is told as that', async (t) => {
  const ask = (port: number, limitMs = 3_000): Promise<unknown> =>
    connect(t, { connectString: `127.0.0.1:${port}/service`, user: 'app', password: 'secret' }, undefined, limitMs)
  const refusing = async (code: number): Promise<number> => (await startTnsListener(t, (socket) => void socket.end(refusal(code)))).port
  const code = (details: object) => (error: CageError) => assert.deepEqual(error.details, details)
  await rejects(ask(await refusing(12_514)), 'UNAVAILABLE', code({ oracleCode: 'NJS-518' }))
  await rejects(ask(await refusing(12_505)), 'UNAVAILABLE')
  await rejects(ask(await refusing(12_519)), 'OVERLOADED', code({ oracleCode: 'NJS-511', cause: 'ORA-12519' }))
  const target = await startTnsListener(t, (socket) => void socket.end(refusal(12_520)))
  const front = await startTnsListener(t, (socket) => void socket.end(redirection(target.port)))
  await rejects(ask(front.port), 'OVERLOADED')
  assert.deepEqual([front.connections(), target.connections()], [1, 1])
  assert.match(target.asked[0] ?? '', /\(SERVICE_NAME=service\)/)
  assert.doesNotMatch(target.asked.join(), /secret/)
  await rejects(ask((await startTnsListener(t, () => {})).port, 300), 'UNAVAILABLE', ({ message }) =>
    assert.equal(message, 'erp: the database does not answer'),
  )
  await rejects(ask((await startTnsListener(t, (socket) => void socket.destroy())).port), 'UNAVAILABLE')
  await rejects(ask((await startTnsListener(t, (socket) => void socket.end(packet(2, Buffer.alloc(4))))).port), 'UNAVAILABLE')
  await rejects(ask((await startTnsListener(t, (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))).port), 'UNAVAILABLE')
  await rejects(ask(1), 'UNAVAILABLE', code({ oracleCode: 'NJS-503' }))
})

test('oracle: options: what is missing or wrong is told, and never the password', () => {
  const told = (given: object): string => JSON.stringify(oracleOptions.safeParse(given).error?.issues ?? [])
  assert.match(told({ connectString: 'app/secret@h/s', user: 'app', password: 'x' }), /names a user/)
  assert.doesNotMatch(told({ connectString: 'app/secret@h/s', user: 'app', password: 'x' }), /secret/)
  assert.match(told({ user: 'app', password: 'x' }), /connectString/)
  assert.match(told({ connectString: 'h/s', user: 'app', password: 'x', settings: { 'a b': 1 } }), /settings/)
  assert.equal(
    told({
      connectString: '(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=h)(PORT=1))(CONNECT_DATA=(SERVICE_NAME=s)))',
      user: 'a',
      password: '',
    }),
    '[]',
  )
})

test('oracle: a database of yours does all of it', { skip: !ORACLE_URL }, async (t) => {
  const [, user, password, connectString] = /^([^/]+)\/(.*)@([^@]+)$/.exec(ORACLE_URL ?? '') ?? []
  const given = { connectString, user, password }
  const connection = (await connect(t, given)) as Required<ResourceConnection>
  const db = methods(connection)
  const drop = `begin execute immediate 'drop table menagerie_test purge'; exception when others then if sqlcode != -942 then raise; end if; end;`
  await db.call(drop)
  await db.execute(
    'create table menagerie_test (id number(9) primary key, exact number, text clob, data blob, at timestamp with time zone)',
  )
  atEnd(t, () => void connection.call('call', [drop], scope()).catch(() => {}))
  const at = new Date('2026-11-24T10:11:12.123Z')
  const [exact, text, data] = ['12345678901234567890.123456789', 'é'.repeat(100_000), Buffer.alloc(100_000, 7)]
  assert.equal(await db.change('insert into menagerie_test values (:id, :exact, :text, :data, :at)', { id: 1n, exact, text, data, at }), 1)
  assert.deepEqual(await db.execute('select * from menagerie_test'), [{ ID: 1, EXACT: exact, TEXT: text, DATA: data, AT: at }])
  assert.equal(await db.executeMany('insert into menagerie_test (id) values (:1)', [[2], [3]]), 2)
  await rejects(db.executeMany('insert into menagerie_test (id) values (:1)', [[4], [1]]), 'CONFLICT')
  assert.deepEqual(await db.execute('select count(*) as n from menagerie_test'), [{ N: '3' }])
  const out = await db.call(
    'begin open :rows for select id from menagerie_test order by id; :n := :n + 0.5; :long := to_clob(rpad(:c, 40000, :c)); end;',
    {
      ...{ rows: { out: 'cursor' }, n: { inout: 'number', value: '12345678901234567890' }, long: { out: 'clob' }, c: 'x' },
    },
  )
  assert.deepEqual(
    { ...out, long: String(out.long).length },
    { rows: [{ ID: 1 }, { ID: 2 }, { ID: 3 }], n: '12345678901234567890.5', long: 40_000 },
  )
  await assert.rejects(
    db.run(async (session) => {
      await session.change('delete from menagerie_test')
      throw new CageError('OWN', 'no')
    }),
  )
  await db.run(async (session) => void (await session.change('delete from menagerie_test where id = 3')), { isolation: 'serializable' })
  assert.deepEqual(await db.execute('select id from menagerie_test order by id'), [{ ID: 1 }, { ID: 2 }])
  await rejects(
    db.run((session) => session.change('delete from menagerie_test'), { readOnly: true }),
    'INVALID_ARGUMENT',
  )
  await rejects(db.call(`begin raise_application_error(-20001, 'in our own words'); end;`), 'INVALID_ARGUMENT', ({ message }) =>
    assert.match(message, /in our own words/),
  )
  const slow = 'declare n number := 0; begin loop n := n + 1; exit when n < 0; end loop; end;'
  await rejects(connection.call('call', [slow], scope(500)), 'DEADLINE_EXCEEDED')
  assert.deepEqual(await db.execute('select 1 as n from dual'), [{ N: '1' }])
  await connection.begin({ id: 'b', options: {} }, scope())
  await db.change('delete from menagerie_test where id = 2')
  const identity = await connection.identity(scope())
  await connection.commit(scope())
  const other = (await connect(t, given)) as Required<ResourceConnection>
  assert.ok(['committed', 'unknown'].includes(await other.outcome(identity, scope())))
  await rejects(connect(t, { ...given, password: 'wrong' }), 'UNAUTHENTICATED')
})
