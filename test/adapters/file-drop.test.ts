import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { InterfaceHost, Listener } from '../../src/adapters/adapter.ts'
import type { DroppedFile } from '../../src/adapters/file/api.ts'
import { listen } from '../../src/adapters/file/listener.ts'
import { matcher } from '../../src/adapters/file/names.ts'
import { fileListenOptions } from '../../src/adapters/file/options.ts'
import { isAlive, ownerName } from '../../src/adapters/file/owner.ts'
import { CageError } from '../../src/errors.ts'
import { pause } from '../../src/pause.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { project } from '../support/node.ts'

type File = DroppedFile<unknown>

interface Drop {
  dir: string
  listener: Listener
  calls: File[]
  queued: { id: string; file: File }[]
  said: Said[]
  put(name: string, content?: string | Buffer): void
}

const QUICK = { settleMs: 30, scanMs: 200, retry: { firstMs: 20, maxMs: 40 } }

/** The interface alone: its calls are answered by `handler`. `name`: copies of one cage have one each here, since they share a process. */
async function drop(t: TestContext, handler: (file: File) => unknown, options: object = {}, at?: string, name = 'in'): Promise<Drop> {
  const dir = at ?? project(t, { '.keep': '' }).dir
  const { log, said } = recordingLog()
  const calls: File[] = []
  const queued: { id: string; file: File }[] = []
  const host = {
    ...{ cage: 'test', name, log, timeoutMs: 20_000 },
    call: async (target: string, [file]: [File], { protocol, parameters }: { protocol: string; parameters: object }) => {
      assert.deepEqual([target, protocol, parameters], ['orders.take', 'file', { file: file.name, attempt: file.attempt }])
      calls.push(file)
      return await handler(file)
    },
    enqueue: async (queue: string, _target: string, [file]: [File], { id }: { id: string }) => {
      assert.equal(queue, 'later')
      queued.push({ id, file })
      await handler(file)
      return id
    },
  } as unknown as InterfaceHost // the rest is not used
  const listener = await listen(fileListenOptions.parse({ dir, call: 'orders.take', ...QUICK, ...options }), host)
  atEnd(t, () => listener.stop())
  return { dir, listener, calls, queued, said, put: (file, content = file) => writeFileSync(join(dir, file), content) }
}

/** What lies in a folder, but for our own and what is hidden. */
function visible(dir: string): string[] {
  return readdirSync(dir).filter((name) => !name.startsWith('.') && name !== 'failed')
}

/** Files that somebody has claimed, or that wait. */
function claimed(dir: string): string[] {
  const own = join(dir, '.menagerie')
  return readdirSync(own, { recursive: true, withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []))
}

const isEmpty = (dir: string) => (): boolean => visible(dir).length === 0 && claimed(dir).length === 0

test('file: what is dropped is called by name, with its content, and removed then', async (t) => {
  const { dir, calls, put } = await drop(t, () => {})
  for (const name of ['b.csv', 'a.csv', 'c.csv']) put(name)
  await eventually('all are gone', isEmpty(dir))
  assert.deepEqual(
    calls.map(({ name }) => name),
    ['a.csv', 'b.csv', 'c.csv'],
  )
  const [first] = calls
  assert.ok(first?.modifiedAt instanceof Date)
  assert.deepEqual([first.bytes, first.attempt, first.content], [5, 1, new Uint8Array(Buffer.from('a.csv'))])
})

test('file: what was there before the start is called too', async (t) => {
  const { dir } = project(t, { 'early.txt': 'x' })
  const { calls } = await drop(t, () => {}, { content: 'utf8' }, dir)
  await eventually('it is gone', isEmpty(dir))
  assert.equal(calls[0]?.content, 'x')
})

test('file: a file that still grows is left alone until it has settled', async (t) => {
  const { dir, calls } = await drop(t, () => {}, { content: 'utf8', settleMs: 1_000 }) // a busy machine may pause between two of its parts
  for (let n = 0; n < 20; n++) {
    appendFileSync(join(dir, 'growing'), 'x')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.equal(calls.length, 0)
  await eventually('it is gone', isEmpty(dir))
  assert.equal(calls[0]?.content, 'x'.repeat(20))
})

test('file: only files of the pattern are taken, no hidden ones, links, folders', async (t) => {
  const { dir, calls, put } = await drop(t, () => {}, { pattern: '*.csv' })
  mkdirSync(join(dir, 'folder.csv'))
  symlinkSync('/etc/passwd', join(dir, 'link.csv'))
  execFileSync('mkfifo', [join(dir, 'pipe.csv')])
  for (const name of ['other.txt', '.hidden.csv', 'x.csv']) put(name)
  await eventually('it is called', () => !existsSync(join(dir, 'x.csv')) && claimed(dir).length === 0)
  assert.deepEqual(
    calls.map(({ name }) => name),
    ['x.csv'],
  )
  assert.deepEqual(visible(dir).sort(), ['folder.csv', 'link.csv', 'other.txt', 'pipe.csv'])
})

test('file: a pattern means what it says', () => {
  assert.ok(matcher('*.csv')('a.csv') && !matcher('*.csv')('a.csv.tmp') && !matcher('*.csv')('acsv'))
  assert.ok(matcher('a?c*')('abc') && !matcher('a?c')('ac') && matcher('(x)[1]+$.{2}')('(x)[1]+$.{2}'))
  assert.ok(matcher('?')('\u{1f600}') && matcher('*')('a\nb'))
  assert.ok(matcher('a*b*c')('a1b2b3c') && !matcher('a*b*c')('a1c2b') && matcher('a**')('a') && !matcher('a*?')('a'))
  assert.ok(matcher('*ab')('aab') && matcher('*')('') && !matcher('')('a') && !matcher('a*b')('a*'))
})

test('file: no name takes long to be compared with a pattern', () => {
  const matches = matcher('orders_*_*_*_*.csv')
  const begun = performance.now()
  assert.equal(matches(`orders_${'_'.repeat(240)}`), false)
  assert.equal(matches(`orders_${'_'.repeat(240)}.csv`), true)
  assert.ok(performance.now() - begun < 100)
})

test('file: with a folder for what is done it is moved there, and nothing there is replaced', async (t) => {
  const { dir } = project(t, { '.keep': '' })
  const doneDir = join(dir, 'done')
  const { put } = await drop(t, () => {}, { doneDir }, dir)
  put('x.csv', 'one')
  await eventually('it is moved', () => existsSync(join(doneDir, 'x.csv')) && claimed(dir).length === 0)
  put('x.csv', 'two')
  await eventually('it is moved beside', () => readdirSync(doneDir).length === 2 && claimed(dir).length === 0)
  const contents = readdirSync(doneDir).map((name) => readFileSync(join(doneDir, name), 'utf8'))
  assert.deepEqual(contents.sort(), ['one', 'two'])
})

test('file: a call that fails is made again, and the file set aside after so many attempts', async (t) => {
  const { dir, calls, put, said } = await drop(
    t,
    ({ name }) => (name === 'bad' ? Promise.reject(new CageError('INTERNAL', 'no')) : undefined),
    { attempts: 3 },
  )
  put('bad')
  put('good')
  await eventually('it is set aside', () => existsSync(join(dir, 'failed', 'bad')) && isEmpty(dir)())
  assert.deepEqual(
    calls.filter(({ name }) => name === 'bad').map(({ attempt }) => attempt),
    [1, 2, 3],
  )
  assert.equal(calls.filter(({ name }) => name === 'good').length, 1, 'a bad one holds nobody up')
  const told = await eventually('it is told', () => said.find(({ level }) => level === 'error'))
  assert.equal(told.fields.path, join(dir, 'failed', 'bad'))
})

test('file: what no attempt can mend is set aside at once', async (t) => {
  const { dir, calls, put } = await drop(t, () => Promise.reject(new CageError('INVALID_ARGUMENT', 'no')), {
    content: 'utf8',
    maxBytes: 10,
  })
  put('refused', 'x')
  put('large', 'x'.repeat(11))
  put('odd', Buffer.from([0xe9]))
  await eventually('all are set aside', () => readdirSync(join(dir, 'failed')).length === 3 && isEmpty(dir)())
  assert.deepEqual(
    calls.map(({ name }) => name),
    ['refused'],
  )
})

test('file: what is not the file’s fault does not count', async (t) => {
  let left = 6
  const { dir, calls, put } = await drop(
    t,
    () => (left-- > 0 ? Promise.reject(new CageError(left % 2 ? 'UNAVAILABLE' : 'OVERLOADED', 'later')) : undefined),
    {
      attempts: 2,
    },
  )
  put('patient')
  await eventually('it is handled', isEmpty(dir))
  assert.deepEqual(
    calls.map(({ attempt }) => attempt),
    [1, 1, 1, 1, 1, 1, 1],
  )
  assert.deepEqual(readdirSync(join(dir, 'failed')), [])
})

test('file: a file that comes under the name of one that waits is another one', async (t) => {
  const { promise, resolve } = deferred<void>()
  const { dir, calls, put } = await drop(
    t,
    async (file) => {
      if (file.content === 'first' && file.attempt === 1) {
        await promise
        throw new CageError('INTERNAL', 'again')
      }
    },
    { content: 'utf8' },
  )
  put('same', 'first')
  await eventually('it is called', () => calls.length === 1)
  put('same', 'second')
  resolve()
  await eventually('both are handled', isEmpty(dir))
  assert.deepEqual(calls.map(({ content }) => content).sort(), ['first', 'first', 'second'])
})

test('file: queued calls carry the id of the claim, the same at each attempt', async (t) => {
  let left = 2
  const { dir, queued, put } = await drop(
    t,
    () => (left-- > 0 ? Promise.reject(new CageError('UNAVAILABLE', 'the bus is away')) : undefined),
    { queue: 'later' },
  )
  put('x')
  await eventually('it is queued', isEmpty(dir))
  assert.equal(queued.length, 3)
  assert.equal(new Set(queued.map(({ id }) => id)).size, 1)
  assert.match(queued[0]?.id ?? '', /^file:test\.in:[0-9a-f]{18}$/)
  put('y')
  await eventually('the next is queued', () => queued.length === 4)
  assert.notEqual(queued[3]?.id, queued[0]?.id)
})

test('file: with its path only, the method reads the file itself, and may take it away', async (t) => {
  const seen: string[] = []
  const { dir, put } = await drop(
    t,
    ({ path = '', name, content }) => {
      assert.equal(content, undefined)
      seen.push(readFileSync(path, 'utf8'))
      if (name === 'taken') rmSync(path)
    },
    { content: 'path', maxBytes: 1 },
  )
  put('read', 'much content')
  put('taken', 'more content')
  await eventually('both are handled', isEmpty(dir))
  assert.deepEqual(seen.sort(), ['more content', 'much content'])
})

test('file: several copies on one machine handle each file once', async (t) => {
  const { dir } = project(t, { '.keep': '' })
  const copies = await Promise.all(
    ['one', 'two', 'three'].map((name) => drop(t, () => pause(5), { concurrency: 4, settleMs: 1, scanMs: 20 }, dir, name)),
  )
  const names = Array.from({ length: 200 }, (_, n) => `file-${n}`)
  for (const name of names) copies[0]?.put(name)
  await eventually('all are gone', isEmpty(dir))
  assert.deepEqual(copies.flatMap(({ calls }) => calls.map(({ name }) => name)).sort(), names.sort())
  assert.ok(copies.filter(({ calls }) => calls.length > 0).length > 1, 'more than one took part')
})

test('file: at most so many calls run at once', async (t) => {
  const { promise, resolve } = deferred<void>()
  let [running, most] = [0, 0]
  const handler = async (): Promise<void> => {
    most = Math.max(most, ++running)
    await promise
    running--
  }
  const { dir, put } = await drop(t, handler, { concurrency: 3 })
  for (let n = 0; n < 10; n++) put(`f${n}`)
  await eventually('three run', () => running === 3)
  resolve()
  await eventually('all are gone', isEmpty(dir))
  assert.equal(most, 3)
})

test('file: a stop lets what runs end and takes nothing new; the next start goes on', async (t) => {
  const { promise, resolve } = deferred<void>()
  const { dir, listener, calls, put } = await drop(t, () => promise)
  put('a')
  put('b')
  await eventually('one is called', () => calls.length === 1)
  let stopped = false
  const stopping = Promise.all([listener.stop(), listener.stop()]).then(() => (stopped = true))
  assert.equal(stopped, false)
  resolve()
  await within('it has stopped', stopping)
  await within('done resolves', listener.done)
  assert.deepEqual(visible(dir), ['b'])
  assert.deepEqual(readdirSync(join(dir, '.menagerie', 'claims')), [], 'its own folder is gone')
  const next = await drop(t, () => {}, {}, dir)
  await eventually('the other is handled', isEmpty(dir))
  assert.deepEqual(
    next.calls.map(({ name }) => name),
    ['b'],
  )
})

test('file: a folder that is not there rejects the start, and one that goes ends the interface', async (t) => {
  const { dir } = project(t, { 'x/.keep': '' })
  await assert.rejects(
    drop(t, () => {}, {}, join(dir, 'nowhere')),
    (error: CageError) => error.code === 'UNAVAILABLE',
  )
  const { listener, said } = await drop(t, () => {}, {}, join(dir, 'x'))
  renameSync(join(dir, 'x'), join(dir, 'y'))
  await within('done rejects', assert.rejects(listener.done))
  await within('it can be stopped all the same', listener.stop())
  assert.ok(said.length >= 0)
})

test('file: what a copy that was killed had claimed is handled by another, as another attempt', { timeout: 60_000 }, async (t) => {
  const { dir } = project(t, { poison: 'x', other: 'y' })
  const script = `
    import { listen } from ${JSON.stringify(join(process.cwd(), 'src/adapters/file/listener.ts'))}
    import { fileListenOptions } from ${JSON.stringify(join(process.cwd(), 'src/adapters/file/options.ts'))}
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const call = async () => { console.log('called'); await new Promise(() => {}) }
    await listen(fileListenOptions.parse({ dir: ${JSON.stringify(dir)}, call: 'a.b', settleMs: 1, concurrency: 2 }), { cage: 'test', name: 'in', log, call })
  `
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  await eventually('both are called', () => output === 'called\ncalled\n')
  const waiting = await drop(t, () => {}, {}, dir)
  writeFileSync(join(dir, 'third'), 'x') // who has both hands full leaves it to the other
  await eventually('the folder was looked through', () => waiting.calls.length > 0)
  assert.deepEqual(
    waiting.calls.map(({ name }) => name),
    ['third'],
    'the owner of the others lives',
  )
  await waiting.listener.stop()
  child.kill('SIGKILL')
  await once(child, 'exit')
  const { calls, said } = await drop(t, () => {}, {}, dir)
  await eventually('both are handled', isEmpty(dir))
  assert.deepEqual(calls.map(({ name, attempt }) => [name, attempt]).sort(), [
    ['other', 2],
    ['poison', 2],
  ])
  assert.ok(said.some(({ level, message }) => level === 'warn' && /a copy that has died/.test(message)))
})

test('file: a file that kills whoever handles it is set aside in the end', async (t) => {
  const { dir } = project(t, { '.keep': '' })
  const claim = join(dir, '.menagerie', 'waiting', 'abc~6~5~0')
  mkdirSync(claim, { recursive: true })
  writeFileSync(join(claim, 'poison'), '')
  mkdirSync(join(dir, '.menagerie', 'waiting', 'def~2~1~0')) // died before it had the file
  const { calls } = await drop(t, () => {}, { attempts: 5 }, dir)
  await eventually('it is set aside', () => existsSync(join(dir, 'failed', 'poison')))
  await eventually('nothing waits', () => readdirSync(join(dir, '.menagerie', 'waiting')).length === 0)
  assert.equal(calls.length, 0)
})

test('file: an owner lives as long as its process; one from elsewhere as long as it says so', () => {
  const now = Date.now()
  const own = ownerName('cage', 'in')
  assert.ok(isAlive(own, 0, now))
  const [world, pid, start, name] = own.split('~')
  assert.ok(!isAlive([world, pid, Number(start) + 1, name].join('~'), now, now), 'its number is another process’s now')
  assert.ok(!isAlive([world, 2 ** 22 + 1, start, name].join('~'), now, now))
  assert.ok(isAlive(['elsewhere', pid, start, name].join('~'), now - 30_000, now))
  assert.ok(!isAlive(['elsewhere', pid, start, name].join('~'), now - 90_000, now))
})

test('file: what was handled is not handled again while it cannot be put away', async (t) => {
  const { dir } = project(t, { '.keep': '' })
  const doneDir = join(dir, 'done')
  const { promise, resolve } = deferred<void>()
  const { calls, said, put } = await drop(t, () => promise, { doneDir }, dir)
  put('x')
  await eventually('it is called', () => calls.length === 1)
  rmSync(doneDir, { recursive: true })
  writeFileSync(doneDir, 'in the way')
  resolve()
  await eventually('it is told', () => said.some(({ level }) => level === 'error'))
  rmSync(doneDir)
  mkdirSync(doneDir)
  await eventually('it is put away', () => existsSync(join(doneDir, 'x')) && claimed(dir).length === 0)
  assert.equal(calls.length, 1)
})

test('file: a link in the place of the folder for what has failed leads nowhere', async (t) => {
  const outside = project(t, { '.keep': '' }).dir
  const { dir, put, said, calls } = await drop(t, () => Promise.reject(new CageError('CONFLICT', 'no')))
  rmSync(join(dir, 'failed'), { recursive: true })
  symlinkSync(outside, join(dir, 'failed'))
  put('x')
  await eventually('it is told', () => calls.length === 1 && said.some(({ level }) => level === 'error'))
  assert.deepEqual(readdirSync(outside), ['.keep'])
  await assert.rejects(
    drop(t, () => {}, {}, dir, 'other'),
    /is no folder, or a link to one/,
  )
  rmSync(join(dir, 'failed'))
  mkdirSync(join(dir, 'failed'))
  await eventually('it is set aside', () => existsSync(join(dir, 'failed', 'x')))
  assert.equal(calls.length, 1)
})

test('file: mistakes in the configuration of a drop folder are told', () => {
  const message = (options: object): string => fileListenOptions.safeParse({ dir: '/x', call: 'a.b', ...options }).error?.message ?? ''
  assert.equal(message({}), '')
  assert.match(message({ pattern: 'a/*' }), /of names, not of paths/)
  assert.match(message({ queue: 'q', content: 'path' }), /gone by then/)
  assert.match(message({ queue: 'q', timeoutMs: 5 }), /the queue has a timeoutMs/)
  assert.match(message({ call: 'nowhere' }), /neither module\.method/)
})
