import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import { fromFileSystem } from '../../src/adapters/file/errors.ts'
import { fileOptions } from '../../src/adapters/file/options.ts'
import { open } from '../../src/adapters/file/resource.ts'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { eventually } from '../../src/testing/wait.ts'
import { project } from '../support/node.ts'

const adapter = ADAPTERS.get('file')
if (!adapter) throw new Error('there is no adapter file')
const isRoot = process.getuid?.() === 0

const shared = project(suite, { 'a.txt': 'hello' }).dir
resourceConforms({
  name: 'file',
  adapter,
  options: () => ({ dir: shared }),
  quick: { method: 'readText', args: ['a.txt'], result: 'hello' },
})

interface Files {
  dir: string
  connect(): Promise<ResourceConnection>
  connection: ResourceConnection
  call(method: string, ...args: unknown[]): Promise<unknown>
}

async function files(t: TestContext, content: Record<string, string> = {}, options: object = {}, at?: string): Promise<Files> {
  const dir = at ?? project(t, { 'keep.txt': 'kept', ...content }).dir
  const connect = async (): Promise<ResourceConnection> => {
    const resource = await open(fileOptions.parse({ dir, ...options }), { cage: 'test', name: 'out', log: recordingLog().log })
    return await resource.connect(scope())
  }
  const connection = await connect()
  return { dir, connect, connection, call: (method, ...args) => connection.call(method, args, scope()) }
}

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

function code(expected: string, message = /^out: /): (error: CageError) => boolean {
  return (error) => {
    assert.equal(error.code, expected, error.message)
    assert.match(error.message, message)
    return true
  }
}

/** What lies in a folder, but for our own. */
function visible(dir: string): string[] {
  return readdirSync(dir).filter((name) => name !== '.menagerie')
}

/** What is left in our own. */
function leftIn(dir: string, state: string): string[] {
  const own = join(dir, '.menagerie', state)
  return existsSync(own) ? readdirSync(own) : []
}

test('file: what is written is read, in folders that are made, as text and as bytes', async (t) => {
  const { call, dir } = await files(t)
  await call('write', 'a/b/c.txt', 'sí')
  assert.equal(await call('readText', 'a/b/c.txt'), 'sí')
  await call('write', 'a/b/c.txt', Uint8Array.of(0, 255))
  assert.deepEqual([...((await call('read', 'a/b/c.txt')) as Uint8Array)], [0, 255])
  await assert.rejects(call('readText', 'a/b/c.txt'), code('INVALID_ARGUMENT', /UTF-8/))
  assert.equal(statSync(join(dir, 'a/b/c.txt')).mode & 0o137, 0)
  assert.deepEqual(leftIn(dir, 'open'), [])
})

test('file: what is there is replaced, unless the caller says otherwise', async (t) => {
  const { call, dir } = await files(t)
  await assert.rejects(call('write', 'keep.txt', 'new', { overwrite: false }), code('CONFLICT', /"keep\.txt": it is there already/))
  assert.equal(readFileSync(join(dir, 'keep.txt'), 'utf8'), 'kept')
  await call('write', 'new.txt', 'new', { overwrite: false })
  await assert.rejects(call('move', 'new.txt', 'keep.txt', { overwrite: false }), code('CONFLICT'))
  await call('move', 'new.txt', 'keep.txt')
  assert.equal(readFileSync(join(dir, 'keep.txt'), 'utf8'), 'new')
  assert.deepEqual(visible(dir), ['keep.txt'])
  await call('move', 'keep.txt', 'deep/er.txt', { overwrite: false })
  assert.deepEqual(visible(dir), ['deep'])
  assert.deepEqual(leftIn(dir, 'open'), [])
})

test('file: append, remove, list and stat', async (t) => {
  const { call } = await files(t)
  await call('append', 'log.txt', 'one\n')
  await call('append', 'log.txt', 'two\n')
  assert.equal(await call('readText', 'log.txt'), 'one\ntwo\n')
  await call('write', 'sub/x.csv', '')
  const names = async (...args: unknown[]): Promise<string[]> =>
    ((await call('list', ...args)) as { name: string }[]).map(({ name }) => name)
  assert.deepEqual(await names(), ['keep.txt', 'log.txt', 'sub'])
  assert.deepEqual(await names(undefined, '*.txt'), ['keep.txt', 'log.txt'])
  assert.deepEqual(await names(undefined, '?og.*'), ['log.txt'])
  assert.deepEqual(await names('sub'), ['x.csv'])
  assert.deepEqual(await names('nowhere'), [])
  const { modifiedAt, ...entry } = (await call('stat', 'log.txt')) as { modifiedAt: Date }
  assert.deepEqual(entry, { name: 'log.txt', folder: false, bytes: 8 })
  assert.ok(Math.abs(modifiedAt.getTime() - Date.now()) < 60_000)
  assert.equal(await call('stat', 'nothing'), undefined)
  assert.equal(await call('remove', 'log.txt'), true)
  assert.equal(await call('remove', 'log.txt'), false)
  await assert.rejects(call('remove', 'sub'), code('INVALID_ARGUMENT', /it is a folder/))
  await assert.rejects(call('read', 'log.txt'), code('NOT_FOUND'))
  await assert.rejects(call('read', 'sub'), code('INVALID_ARGUMENT', /it is a folder/))
  await assert.rejects(call('move', 'nothing', 'else'), code('NOT_FOUND'))
})

test('file: no name leads out of the folder', async (t) => {
  const { call, dir } = await files(t)
  const outside = project(t, { 'secret.txt': 'secret' }).dir
  symlinkSync(outside, join(dir, 'folder-link'))
  symlinkSync(join(outside, 'secret.txt'), join(dir, 'file-link'))
  symlinkSync('keep.txt', join(dir, 'inner-link'))
  const names = ['..', '../x', 'a/../../x', '/etc/passwd', '.', './x', 'a//b', '', 'a/', 'a\0b', '.menagerie/open/x', '.menagerie']
  for (const name of names) {
    for (const method of ['read', 'write', 'append', 'remove', 'stat'])
      await assert.rejects(call(method, name, 'x'), code('INVALID_ARGUMENT', /^out/), `${method} ${name}`)
    await assert.rejects(call('move', 'keep.txt', name), code('INVALID_ARGUMENT'))
    await assert.rejects(call('list', name), code('INVALID_ARGUMENT'))
  }
  for (const name of ['folder-link/secret.txt', 'file-link', 'inner-link'])
    for (const method of ['read', 'append']) await assert.rejects(call(method, name, 'x'), code('INVALID_ARGUMENT'), `${method} ${name}`)
  for (const name of ['folder-link/secret.txt', 'folder-link/new/x'])
    await assert.rejects(call('write', name, 'x'), code('INVALID_ARGUMENT'))
  await assert.rejects(call('remove', 'folder-link/secret.txt'), code('INVALID_ARGUMENT'))
  await assert.rejects(call('move', 'keep.txt', 'folder-link/x'), code('INVALID_ARGUMENT'))
  await assert.rejects(call('move', 'file-link', 'x'), code('INVALID_ARGUMENT'))
  await assert.rejects(call('list', 'folder-link'), code('INVALID_ARGUMENT'))
  await call('write', 'file-link', 'mine') // takes the link's place
  assert.equal(readFileSync(join(outside, 'secret.txt'), 'utf8'), 'secret')
  assert.deepEqual(readdirSync(outside), ['secret.txt'])
})

test('file: a folder that is exchanged for a link meanwhile leads nowhere else', { timeout: 60_000 }, async (t) => {
  const { call, dir } = await files(t)
  const outside = project(t, { x: '' }).dir
  mkdirSync(join(dir, 'real'))
  const swapper = spawn(process.execPath, [
    '-e',
    `
    const { renameSync, rmSync, symlinkSync, unlinkSync } = require('node:fs')
    process.chdir(${JSON.stringify(dir)})
    const tried = (act) => { try { act(); return true } catch { return false } } // a write makes the folder anew at any moment
    for (;;) {
      tried(() => renameSync('real', 'r'))
      tried(() => symlinkSync(${JSON.stringify(outside)}, 'real'))
      tried(() => unlinkSync('real'))
      if (!tried(() => renameSync('r', 'real'))) rmSync('real', { recursive: true, force: true })
    }
  `,
  ])
  atEnd(t, async () => {
    swapper.kill('SIGKILL')
    if (swapper.exitCode === null && swapper.signalCode === null) await once(swapper, 'exit')
  })
  let [done, refused] = [0, 0]
  for (let n = 0; n < 300 || done === 0 || refused === 0; n++) {
    await call('write', 'real/file', 'x').then(
      () => done++,
      () => refused++,
    )
  }
  t.diagnostic(`${done} done, ${refused} refused`)
  assert.deepEqual(readdirSync(outside), ['x'])
})

test('file: what is no file is not waited for', async (t) => {
  const { call, dir } = await files(t)
  execFileSync('mkfifo', [join(dir, 'pipe')])
  await assert.rejects(call('read', 'pipe'), code('INVALID_ARGUMENT', /no file/))
  await assert.rejects(call('append', 'pipe', 'x'), code('INVALID_ARGUMENT'))
})

test('file: what is too large, or nothing that can be written, is refused', async (t) => {
  const { call } = await files(t, { 'large.txt': 'x'.repeat(101) }, { maxBytes: 100 })
  await assert.rejects(call('read', 'large.txt'), code('PAYLOAD_TOO_LARGE', /101 bytes, 100 are allowed/))
  await assert.rejects(call('write', 'new.txt', 'x'.repeat(101)), code('PAYLOAD_TOO_LARGE'))
  await assert.rejects(call('write', 'new.txt', { a: 1 }), code('INVALID_ARGUMENT'))
  await assert.rejects(call('write', 'new.txt', '', { overwrit: true }), code('INVALID_ARGUMENT'))
  await assert.rejects(call('write', 'x'.repeat(300), ''), code('INVALID_ARGUMENT', /ENAMETOOLONG/))
  await assert.rejects(call('write', 'large.txt/below', ''), code('INVALID_ARGUMENT', /ENOTDIR/))
})

test('file: nothing is written that nobody wants any more', async (t) => {
  const { connection, dir } = await files(t)
  await assert.rejects(connection.call('write', ['new.txt', 'x'], scope(-1)), code('DEADLINE_EXCEEDED'))
  await assert.rejects(connection.call('write', ['new.txt', 'x'], scope(1_000, AbortSignal.abort())), code('CANCELLED'))
  assert.deepEqual(visible(dir), ['keep.txt'])
})

test('file: a reader sees the old content or the new, never a part', async (t) => {
  const { call, dir } = await files(t)
  const contents = ['a', 'b'].map((letter) => letter.repeat(1_000_000))
  const hashes = new Set(contents.map((text) => createHash('sha1').update(text).digest('hex')))
  await call('write', 'big', contents[0])
  let over = false
  const seen = new Set<string>()
  const reading = (async () => {
    while (!over)
      seen.add(
        createHash('sha1')
          .update((await call('read', 'big')) as Uint8Array)
          .digest('hex'),
      )
  })()
  for (let n = 1; n <= 30; n++) await call('write', 'big', contents[n % 2])
  over = true
  await reading
  for (const hash of seen) assert.ok(hashes.has(hash))
  assert.deepEqual(visible(dir).sort(), ['big', 'keep.txt'])
})

test('file: a folder that is not there is unavailable, and used when it is', async (t) => {
  const { dir } = project(t, {})
  const resource = await open(fileOptions.parse({ dir: join(dir, 'later') }), { cage: 'test', name: 'out', log: recordingLog().log })
  await assert.rejects(resource.connect(scope()), code('UNAVAILABLE', /the folder is not there/))
  mkdirSync(join(dir, 'later'))
  const connection = await resource.connect(scope())
  await connection.call('write', ['x', 'y'], scope())
  rmSync(join(dir, 'later'), { recursive: true })
  await assert.rejects(connection.call('write', ['x', 'y'], scope()), code('NOT_FOUND'))
  await assert.rejects(connection.check?.(scope()) ?? Promise.resolve(), code('UNAVAILABLE'))
})

test('file: what the system says has its code', () => {
  const errors = {
    EACCES: 'FORBIDDEN',
    EROFS: 'FORBIDDEN',
    ENOSPC: 'OVERLOADED',
    EDQUOT: 'OVERLOADED',
    EMFILE: 'OVERLOADED',
    EIO: 'UNAVAILABLE',
    ESTALE: 'UNAVAILABLE',
    EXDEV: 'INVALID_ARGUMENT',
    EODD: 'INTERNAL',
  }
  for (const [errno, expected] of Object.entries(errors)) {
    const error = fromFileSystem(Object.assign(new Error('/secret/path'), { code: errno }), 'out')
    assert.equal(error.code, expected, errno)
    assert.doesNotMatch(error.message, /secret/)
  }
})

test('file: what we may not do is forbidden', { skip: isRoot && 'root may do everything' }, async (t) => {
  const { call, dir } = await files(t)
  mkdirSync(join(dir, 'locked'))
  chmodSync(join(dir, 'locked'), 0o500)
  await assert.rejects(call('write', 'locked/x', ''), code('FORBIDDEN', /EACCES/))
})

// transactions

async function begun(folder: Files, id: string): Promise<ResourceConnection> {
  const connection = await folder.connect()
  await connection.begin?.({ id, options: {} }, scope())
  return connection
}

const ID = 'menagerie/inst/cage/tx.1/0'

test('file: in a transaction nothing is seen before the commit, but by itself', async (t) => {
  const folder = await files(t, { 'old.txt': 'old', 'from.txt': 'moved' })
  const branch = await begun(folder, ID)
  const call = (method: string, ...args: unknown[]): Promise<unknown> => branch.call(method, args, scope())
  await call('write', 'sub/new.txt', 'new')
  await call('write', 'keep.txt', 'changed')
  assert.equal(await call('remove', 'old.txt'), true)
  assert.equal(await call('remove', 'old.txt'), false)
  await call('move', 'from.txt', 'to.txt')
  const names = async (): Promise<string[]> => ((await call('list')) as { name: string }[]).map(({ name }) => name)
  assert.deepEqual(await names(), ['keep.txt', 'to.txt'])
  assert.equal(await call('readText', 'keep.txt'), 'changed')
  assert.equal(await call('readText', 'sub/new.txt'), 'new')
  assert.equal(await call('stat', 'old.txt'), undefined)
  await assert.rejects(call('read', 'from.txt'), code('NOT_FOUND'))
  assert.deepEqual(visible(folder.dir).sort(), ['from.txt', 'keep.txt', 'old.txt'])
  assert.equal(await folder.call('readText', 'keep.txt'), 'kept')
  await branch.prepare?.(scope())
  assert.equal(await folder.call('readText', 'keep.txt'), 'kept')
  await branch.commit?.(scope())
  assert.deepEqual(visible(folder.dir).sort(), ['keep.txt', 'sub', 'to.txt'])
  assert.equal(await folder.call('readText', 'keep.txt'), 'changed')
  assert.equal(await folder.call('readText', 'to.txt'), 'moved')
  for (const state of ['open', 'prepared', 'decided']) assert.deepEqual(leftIn(folder.dir, state), [], state)
  await branch.call('write', ['after.txt', 'at once'], scope())
  assert.equal(await folder.call('readText', 'after.txt'), 'at once')
})

test('file: a rollback leaves nothing, prepared or not', async (t) => {
  const folder = await files(t)
  for (const prepares of [false, true]) {
    const branch = await begun(folder, `${ID}${prepares}`)
    await branch.call('write', ['new.txt', 'new'], scope())
    await branch.call('remove', ['keep.txt'], scope())
    if (prepares) await branch.prepare?.(scope())
    await branch.rollback?.(scope())
    assert.deepEqual(visible(folder.dir), ['keep.txt'])
    for (const state of ['open', 'prepared', 'decided']) assert.deepEqual(leftIn(folder.dir, state), [], state)
  }
})

test('file: a commit without a prepare is one step too', async (t) => {
  const folder = await files(t)
  const branch = await begun(folder, ID)
  await branch.call('write', ['new.txt', 'new'], scope())
  await branch.commit?.(scope())
  assert.equal(await folder.call('readText', 'new.txt'), 'new')
})

test('file: a commit without a prepare that is refused before it is decided has not happened', async (t) => {
  const folder = await files(t, { 'reports/a.txt': 'a' })
  const branch = await begun(folder, ID)
  await branch.call('write', ['new.txt', 'new'], scope())
  await branch.call('write', ['reports', 'text'], scope())
  await assert.rejects(branch.commit?.(scope()) ?? Promise.resolve(), code('INVALID_ARGUMENT', /reports is a folder/))
  assert.equal(branch.broken, false, 'it is told as refused, not as unknown')
  assert.deepEqual(leftIn(folder.dir, 'open'), [])
  assert.deepEqual(visible(folder.dir).sort(), ['keep.txt', 'reports'])
  assert.equal(await branch.call('readText', ['reports/a.txt'], scope()), 'a')
})

test('file: what becomes of a prepared commit that comes too late is not known', async (t) => {
  const folder = await files(t)
  const branch = await begun(folder, ID)
  await branch.call('write', ['new.txt', 'new'], scope())
  await branch.prepare?.(scope())
  await assert.rejects(branch.commit?.(scope(-1)) ?? Promise.resolve(), code('DEADLINE_EXCEEDED'))
  assert.equal(branch.broken, true)
  await (await folder.connect()).finish?.(ID, 'commit', scope())
  assert.equal(await folder.call('readText', 'new.txt'), 'new')
})

test('file: a prepared branch outlives its process, is found, and ended by its name either way, twice', async (t) => {
  const folder = await files(t)
  const ids = [`${ID}1`, `${ID}2`]
  for (const id of ids) {
    const branch = await begun(folder, id)
    await branch.call('write', [`${id.at(-1)}.txt`, id], scope())
    if (id.endsWith('2')) await branch.call('remove', ['keep.txt'], scope())
    await branch.prepare?.(scope())
  } // and the process is gone
  const other = await folder.connect()
  const found = (await other.leftovers?.('menagerie/inst/cage/', scope())) ?? []
  assert.deepEqual(found.map(({ branch }) => branch).sort(), ids)
  assert.ok(found.every(({ ageMs }) => ageMs >= 0 && ageMs < 60_000))
  assert.deepEqual(await other.leftovers?.('menagerie/other/', scope()), [])
  for (let n = 0; n < 2; n++) await other.finish?.(`${ID}2`, 'commit', scope())
  for (let n = 0; n < 2; n++) await other.finish?.(`${ID}1`, 'rollback', scope())
  assert.deepEqual(visible(folder.dir), ['2.txt'])
  assert.deepEqual(await other.leftovers?.('menagerie/', scope()), [])
})

test('file: a branch that was never in this folder is not taken for committed', async (t) => {
  const folder = await files(t)
  await assert.rejects(folder.connection.finish?.(ID, 'commit', scope()) ?? Promise.resolve(), code('UNAVAILABLE', /another machine's/))
  await folder.connection.finish?.(ID, 'rollback', scope())
})

test('file: a commit that was cut off is carried out by whoever comes next', async (t) => {
  const folder = await files(t, { 'second.txt': 'old' })
  const branch = await begun(folder, ID)
  await branch.call('write', ['first.txt', '1'], scope())
  await branch.call('write', ['second.txt', '2'], scope())
  await branch.call('remove', ['keep.txt'], scope())
  await branch.prepare?.(scope())
  const own = join(folder.dir, '.menagerie')
  const name = ID.replaceAll('/', '~')
  mkdirSync(join(own, 'decided'), { recursive: true })
  renameSync(join(own, 'prepared', name), join(own, 'decided', name))
  const [first] = JSON.parse(readFileSync(join(own, 'decided', name, 'plan.json'), 'utf8')) as { put: string }[]
  renameSync(join(own, 'decided', name, first?.put ?? ''), join(folder.dir, 'first.txt')) // and died here
  await folder.connect()
  assert.deepEqual(visible(folder.dir).sort(), ['first.txt', 'keep.txt', 'second.txt'], 'it may be at work still')
  const long = new Date(Date.now() - 60_000)
  utimesSync(join(own, 'decided', name), long, long)
  await folder.connect()
  assert.deepEqual(visible(folder.dir).sort(), ['first.txt', 'second.txt'])
  assert.equal(readFileSync(join(folder.dir, 'second.txt'), 'utf8'), '2')
  await folder.connection.finish?.(ID, 'commit', scope())
})

test('file: what a death has left of a branch that was carried out is taken away, and not noted again', async (t) => {
  const folder = await files(t)
  const branch = await begun(folder, ID)
  await branch.call('remove', ['keep.txt'], scope())
  await branch.prepare?.(scope())
  await branch.commit?.(scope())
  const own = join(folder.dir, '.menagerie')
  const rest = join(own, 'decided', ID.replaceAll('/', '~'))
  mkdirSync(rest)
  writeFileSync(join(rest, 'held'), '') // the plan went first
  const long = new Date(Date.now() - 60_000)
  utimesSync(rest, long, long)
  await folder.connect()
  assert.deepEqual(leftIn(folder.dir, 'decided'), [])
  assert.equal(readFileSync(join(own, 'ended', 'now'), 'utf8'), `${ID}\n`)
  await folder.connection.finish?.(ID, 'commit', scope())
})

test('file: a file that was put in the place of one that is removed stays', async (t) => {
  const folder = await files(t)
  const branch = await begun(folder, ID)
  await branch.call('remove', ['keep.txt'], scope())
  await branch.prepare?.(scope())
  await folder.call('write', 'keep.txt', 'somebody else’s')
  await branch.commit?.(scope())
  assert.equal(await folder.call('readText', 'keep.txt'), 'somebody else’s')
})

test('file: what is done several times in a transaction comes to what was done last', async (t) => {
  const folder = await files(t, { a: 'a', b: 'b', c: 'c' })
  const branch = await begun(folder, ID)
  const call = (method: string, ...args: unknown[]): Promise<unknown> => branch.call(method, args, scope())
  await call('write', 'a', 'a1')
  await call('write', 'a', 'a2')
  await call('write', 'b', 'b1')
  await call('remove', 'b')
  await call('remove', 'c')
  await call('write', 'c', 'c1')
  await call('write', 'd', 'd1')
  await call('move', 'd', 'e')
  await call('move', 'a', 'f')
  await branch.commit?.(scope())
  const all = Object.fromEntries(visible(folder.dir).map((name) => [name, readFileSync(join(folder.dir, name), 'utf8')]))
  assert.deepEqual(all, { 'keep.txt': 'kept', c: 'c1', e: 'd1', f: 'a2' })
})

test('file: what cannot be promised is refused before the commit', async (t) => {
  const folder = await files(t)
  mkdirSync(join(folder.dir, 'taken'))
  const branch = await begun(folder, ID)
  await assert.rejects(branch.call('append', ['a', 'b'], scope()), code('INVALID_ARGUMENT', /append is of no transaction/))
  await assert.rejects(branch.call('write', ['a', 'b', { overwrite: false }], scope()), code('INVALID_ARGUMENT', /overwrite: false/))
  await branch.call('write', ['taken', 'b'], scope())
  await assert.rejects(branch.prepare?.(scope()) ?? Promise.resolve(), code('INVALID_ARGUMENT', /is a folder/))
  await branch.rollback?.(scope())
  await assert.rejects(
    branch.begin?.({ id: ID, options: { isolation: 'serializable' } }, scope()) ?? Promise.resolve(),
    code('INVALID_ARGUMENT'),
  )
  assert.deepEqual(leftIn(folder.dir, 'open'), [])
})

test('file: what was begun a day ago is taken away', async (t) => {
  const folder = await files(t)
  const own = join(folder.dir, '.menagerie', 'open')
  mkdirSync(join(own, 'old-branch'), { recursive: true })
  writeFileSync(join(own, 'old-branch', 'x'), '')
  writeFileSync(join(own, 'young'), '')
  const old = new Date(Date.now() - 2 * 86_400_000)
  utimesSync(join(own, 'old-branch'), old, old)
  await folder.connect()
  assert.deepEqual(leftIn(folder.dir, 'open'), ['young'])
})

test('file: killed at any moment, two files of a transaction are both there or both not', { timeout: 60_000 }, async (t) => {
  const folder = await files(t)
  const script = `
    import { open } from ${JSON.stringify(join(process.cwd(), 'src/adapters/file/resource.ts'))}
    import { fileOptions } from ${JSON.stringify(join(process.cwd(), 'src/adapters/file/options.ts'))}
    const scope = { deadline: Date.now() + 60_000, signal: new AbortController().signal }
    const c = await (await open(fileOptions.parse({ dir: ${JSON.stringify(folder.dir)} }), { name: 'out' })).connect(scope)
    for (let n = 0; ; n++) {
      await c.begin({ id: 'tx.' + process.pid + '.' + n, options: {} }, scope)
      await c.call('write', ['one.txt', String(n)], scope)
      await c.call('write', ['two.txt', String(n)], scope)
      await c.commit(scope)
    }`
  for (let round = 0; round < 3; round++) {
    for (const name of ['one.txt', 'two.txt']) rmSync(join(folder.dir, name), { force: true })
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { stdio: 'inherit' })
    await eventually(
      'it works',
      () => existsSync(join(folder.dir, 'two.txt')) && Number(readFileSync(join(folder.dir, 'two.txt'), 'utf8')) > round * 7,
    )
    child.kill('SIGKILL')
    await once(child, 'exit')
    const decided = join(folder.dir, '.menagerie', 'decided')
    const long = new Date(Date.now() - 60_000)
    for (const name of leftIn(folder.dir, 'decided')) utimesSync(join(decided, name), long, long)
    await folder.connect()
    assert.equal(await folder.call('readText', 'one.txt'), await folder.call('readText', 'two.txt'))
  }
})

// a full disk

test('file: a full disk is told, changes nothing, and is used again when there is room', {
  skip: !isRoot && 'only root may mount one',
}, async (t) => {
  const { dir } = project(t, {})
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir], { stdio: 'ignore' })
  } catch {
    return t.skip('this machine mounts none')
  }
  atEnd(t, () => void execFileSync('umount', [dir]))
  const { call, connection, connect } = await files(t, {}, {}, dir)
  await call('write', 'small.txt', 'old')
  await call('append', 'log.txt', 'start\n')
  await assert.rejects(call('write', 'small.txt', 'x'.repeat(400_000)), code('OVERLOADED', /the disk is full \(ENOSPC\)/))
  assert.equal(await call('readText', 'small.txt'), 'old')
  await assert.rejects(call('append', 'log.txt', 'x'.repeat(400_000)), code('OVERLOADED'))
  assert.equal(await call('readText', 'log.txt'), 'start\n', 'half of it is taken away')
  await connection.begin?.({ id: ID, options: {} }, scope())
  await assert.rejects(call('write', 'small.txt', 'x'.repeat(400_000)), code('OVERLOADED'))
  await connection.rollback?.(scope())
  assert.deepEqual(leftIn(dir, 'open'), [])
  const prepared = await connect()
  await prepared.begin?.({ id: `${ID}2`, options: {} }, scope())
  await prepared.call('write', ['small.txt', 'y'.repeat(50_000)], scope())
  await prepared.prepare?.(scope())
  await assert.rejects(call('write', 'filler', 'x'.repeat(250_000)), code('OVERLOADED'))
  for (let n = 0; n < 100; n++)
    if (
      await call('write', `f${n}`, 'x'.repeat(8_000)).then(
        () => false,
        () => true,
      )
    )
      break
  await prepared.commit?.(scope())
  assert.equal(((await call('readText', 'small.txt')) as string).length, 50_000, 'what is prepared needs no more room')
})

test('file: a file system that is read-only is told', { skip: !isRoot && 'only root may mount one' }, async (t) => {
  const { dir } = project(t, {})
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', dir], { stdio: 'ignore' })
  } catch {
    return t.skip('this machine mounts none')
  }
  atEnd(t, () => void execFileSync('umount', [dir]))
  writeFileSync(join(dir, 'a'), 'b')
  execFileSync('mount', ['-o', 'remount,ro', dir])
  const { call } = await files(t, {}, {}, dir)
  await assert.rejects(call('write', 'a', 'c'), code('FORBIDDEN', /read-only/))
  assert.equal(await call('readText', 'a'), 'b')
})

test('file: another file system below the folder is told before the commit', { skip: !isRoot && 'only root may mount one' }, async (t) => {
  const folder = await files(t)
  mkdirSync(join(folder.dir, 'other'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', join(folder.dir, 'other')], { stdio: 'ignore' })
  } catch {
    return t.skip('this machine mounts none')
  }
  atEnd(t, () => void execFileSync('umount', [join(folder.dir, 'other')]))
  await assert.rejects(folder.call('write', 'other/a', 'b'), code('INVALID_ARGUMENT', /another file system/))
  const branch = await begun(folder, ID)
  await branch.call('write', ['other/a', 'b'], scope())
  await assert.rejects(branch.prepare?.(scope()) ?? Promise.resolve(), code('INVALID_ARGUMENT', /another file system/))
  await branch.rollback?.(scope())
})
