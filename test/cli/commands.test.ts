/** The `menagerie` command against a real bus and a real node. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Bus } from '../../src/bus/bus.ts'
import type { Command } from '../../src/cli/command.ts'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { cli, documents, type Ended, running } from '../support/cli.ts'
import { type Project, project, startNode } from '../support/node.ts'

const FILES = {
  'cages/shop/mail.ts': `
import { CageError, type Context } from 'menagerie'

const sent: string[] = []

export async function send(_ctx: Context, to: string): Promise<string> {
  if (to.startsWith('bad')) throw new CageError('BAD_ADDRESS', 'nobody lives there: ' + to, { retryable: false })
  if (to === 'ansi') throw new CageError('ODD', 'red \\x1b[31m text', { retryable: false })
  sent.push(to)
  return 'sent to ' + to
}

export async function complain(ctx: Context, about: string): Promise<void> {
  await ctx.notify.info('it is nothing')
  await ctx.notify.error('the post is late', { about })
}

export async function list(): Promise<string[]> {
  return sent
}

export async function wait(ctx: Context, ms: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    setTimeout(resolve, ms)
    ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason))
  })
}
`,
  'config/shop.ts': `
import { defineCage } from 'menagerie'

export default defineCage({
  interfaces: { yearly: { kind: 'schedule', cron: '0 0 1 1 *', call: 'mail.list' } },
  queues: { calls: {}, paused: {}, drained: {}, purged: {}, found: {}, edited: {}, paced: {}, dropped: {} },
})
`,
}

let server: NatsServer
let folder: Project
let bus: Bus
let run: (...words: string[]) => Promise<Ended>

before(async () => {
  server = await startNats(suite)
  folder = project(suite, FILES)
  run = cli(folder.dir, { NATS_URL: server.url })
  const node = startNode(suite, folder.dir, ['--cage', 'shop', '--bus', server.url])
  bus = await testBus(suite, server.url)
  await node.ready
})

/** Standard output of a command that ends well. */
async function output(...words: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(...words)
  assert.equal(status, 0, `${words.join(' ')}: ${stderr}`)
  return stdout
}

/** What is written to standard output meanwhile. */
async function saying(act: () => Promise<unknown>): Promise<string> {
  const { write } = process.stdout
  let text = ''
  process.stdout.write = ((chunk: unknown) => {
    text += String(chunk)
    return true
  }) as typeof write // only texts come
  try {
    await act()
  } finally {
    process.stdout.write = write
  }
  return text
}

/** What a command prints with `--json`. */
async function json<T = Record<string, unknown>>(...words: string[]): Promise<T[]> {
  return documents<T>(await output(...words, '--json'))
}

/** Has calls die; resolves with their letters' numbers. */
async function kill(queue: string, ...to: string[]): Promise<number[]> {
  for (const address of to)
    await bus.enqueue(queue, 'shop', 'mail', 'send', [address], { request: { id: '' }, deadline: Date.now() + 10_000 })
  return eventually('all are dead', async () => {
    const seqs = await deadIn(queue)
    return seqs.length === to.length && seqs
  })
}

async function deadIn(queue: string): Promise<number[]> {
  const seqs: number[] = []
  for await (const { seq } of bus.queues.dead({ queue })) seqs.push(seq)
  return seqs
}

async function reaches(id: string, state: string): Promise<void> {
  await eventually(`call ${id} is ${state}`, async () => (await bus.queues.status(id))?.state === state)
}

async function sent(): Promise<string[]> {
  return (await bus.call('shop', 'mail', 'list', [], { request: { id: '' }, deadline: Date.now() + 10_000 })) as string[]
}

test('cli: a call prints its result as JSON', async () => {
  assert.equal(await output('call', 'shop.mail.send', '["me"]'), '"sent to me"\n')
  assert.equal(await output('call', 'shop.mail.send', '"me"', '--json', '--timeout', '5s'), '"sent to me"\n')
  assert.equal(await output('call', 'shop.mail.wait', '[1]'), 'null\n')
})

test('cli: a call that fails is told in one line, or as JSON', async () => {
  const plain = await run('call', 'shop.mail.snd', '["me"]')
  assert.deepEqual(plain, {
    status: 1,
    stdout: '',
    stderr: 'menagerie: NOT_FOUND: module shop.mail has no method snd, did you mean send?\n',
  })
  const { status, stderr } = await run('call', 'shop.mail.send', '["bad"]', '--json')
  assert.equal(status, 1)
  assert.deepEqual(JSON.parse(stderr), { error: { code: 'BAD_ADDRESS', message: 'nobody lives there: bad', retryable: false } })
  assert.match((await run('call', 'nobody.is.here')).stderr, /^menagerie: UNAVAILABLE: nobody serves nobody\.is\.here\n$/)
})

test('cli: a queued call prints its id, and its status tells what came of it', async () => {
  assert.equal(await output('call', 'shop.mail.send', '["you"]', '--queue', 'calls', '--id', 'letter-1'), 'letter-1\n')
  assert.match(await output('call', 'shop.mail.send', '["you"]', '--queue', 'calls'), /^calls:\d+\n$/)
  await reaches('letter-1', 'done')
  const [done] = await json('queue', 'status', 'letter-1')
  assert.deepEqual([done?.result, done?.queue, done?.target], ['sent to you', 'calls', 'shop.mail.send'])
  assert.match(await output('queue', 'status', 'letter-1'), /^call +letter-1\nstate +done\n[\s\S]*result +"sent to you"\n/)
})

test('cli: a delayed call waits, and can be cancelled once', async () => {
  const [queued] = await json(
    'call',
    'shop.mail.send',
    '["late"]',
    '--queue',
    'calls',
    '--id',
    'late',
    '--delay',
    '1h',
    '--key',
    'k',
    '--priority',
    'high',
  )
  assert.deepEqual(queued, { id: 'late', queue: 'calls' })
  const [status] = await json('queue', 'status', 'late')
  assert.equal(status?.state, 'delayed')
  assert.ok(Math.abs(Number(status?.dueAt) - Date.now() - 3_600_000) < 60_000)
  assert.equal(await output('queue', 'cancel', 'late'), 'call late is cancelled\n')
  const again = await run('queue', 'cancel', 'late')
  assert.deepEqual([again.status, again.stderr], [1, 'menagerie: CONFLICT: call late is cancelled, there is nothing to cancel\n'])
  assert.deepEqual(
    await run('queue', 'cancel', 'never').then(({ status: code, stderr }) => [
      code,
      stderr.startsWith('menagerie: NOT_FOUND: nothing is known of call never'),
    ]),
    [1, true],
  )
})

test('cli: a call that runs is told to end', async () => {
  await output('call', 'shop.mail.wait', '[60000]', '--queue', 'calls', '--id', 'long')
  await reaches('long', 'running')
  assert.match(await output('queue', 'cancel', 'long'), /^call long (runs, its signal has fired|is cancelled)\n$/)
  await reaches('long', 'cancelled')
})

test('cli: a paused queue begins nothing until it is resumed', async () => {
  assert.equal(await output('queue', 'pause', 'paused', '--reason', 'the ledger is away'), 'queue paused is paused\n')
  await eventually('nobody asks for its calls', async () => (await bus.queues.show('paused')).cages.every(({ asking }) => asking === 0))
  await output('call', 'shop.mail.send', '["after the pause"]', '--queue', 'paused')
  assert.match(
    await output('queue', 'show', 'paused'),
    /^queue +paused\nmode +paused since .*: the ledger is away\nwaiting +1\n[\s\S]*\nshop +1 +0 +0 +mail\.send 1\n$/,
  )
  const listed = (await json('queue', 'ls')).find(({ queue }) => queue === 'paused')
  assert.deepEqual([listed?.mode, listed?.waiting, listed?.running], ['paused', 1, 0])
  assert.match(
    await output('queue', 'ls'),
    /^QUEUE +MODE +WAITING +RUNNING +DELAYED +DEAD +OLDEST +SIZE\n[\s\S]*\npaused +paused +1 +0 +0 +0 /,
  )
  assert.ok(!(await sent()).includes('after the pause'))
  assert.deepEqual(await json('queue', 'resume', 'paused'), [{ queue: 'paused', mode: 'open' }])
  await eventually('it has run', async () => (await sent()).includes('after the pause'))
})

test('cli: a queue that is drained takes no calls, and the command ends when it is empty', async () => {
  await output('call', 'shop.mail.wait', '[9000]', '--queue', 'drained', '--id', 'lengthy')
  assert.deepEqual(await json('queue', 'drain', 'drained', '--no-wait'), [{ queue: 'drained', mode: 'draining', left: 1 }])
  const refused = await run('call', 'shop.mail.wait', '[1]', '--queue', 'drained')
  assert.deepEqual([refused.status, refused.stderr], [1, 'menagerie: UNAVAILABLE: queue drained is being drained, it takes no calls\n'])
  const drained = output('queue', 'drain', 'drained')
  await bus.queues.cancel('lengthy')
  assert.equal(await drained, 'queue drained takes no calls, and is empty\n')
  await output('queue', 'resume', 'drained')
  await output('call', 'shop.mail.wait', '[1]', '--queue', 'drained')
})

test('cli: a purge must be confirmed, and deletes what waits and what is delayed', async () => {
  await output('queue', 'pause', 'purged')
  await eventually('nobody asks for its calls', async () => (await bus.queues.show('purged')).cages.every(({ asking }) => asking === 0))
  await output('call', 'shop.mail.send', '["never"]', '--queue', 'purged')
  await output('call', 'shop.mail.send', '["never"]', '--queue', 'purged', '--delay', '1h')
  const asked = await run('queue', 'purge', 'purged')
  assert.deepEqual(asked, {
    status: 78,
    stdout: '',
    stderr: 'menagerie: delete 2 calls of queue purged for good? there is no terminal to ask on: --yes says so\n',
  })
  assert.deepEqual(await json('queue', 'purge', 'purged', '--cage', 'other', '--yes'), [{ queue: 'purged', purged: 0 }])
  assert.equal(await output('queue', 'purge', 'purged', '--yes'), '2 calls deleted\n')
  assert.deepEqual(await json('queue', 'show', 'purged').then(([queue]) => [queue?.waiting, queue?.delayed]), [0, 0])
})

test('cli: dead letters are listed by queue, target, error and time, and no more than asked for', async () => {
  const begun = new Date().toISOString()
  const seqs = await kill('found', 'bad 1', 'bad 2', 'ansi')
  const list = async (...filters: string[]): Promise<unknown[]> =>
    (await json('dead', 'ls', '--queue', 'found', ...filters)).map(({ seq }) => seq)
  assert.deepEqual(await list(), seqs)
  assert.deepEqual(await list('--error', 'bad_address'), seqs.slice(0, 2))
  assert.deepEqual(await list('--error', 'bad 2'), seqs.slice(1, 2))
  assert.deepEqual(await list('--target', 'shop.mail.send', '--since', begun), seqs)
  assert.deepEqual(await list('--target', 'shop.other'), [])
  assert.deepEqual(await list('--since', '1h', '--until', '30m'), [])
  const few = await run('dead', 'ls', '--queue', 'found', '--limit', '2')
  assert.match(
    few.stdout,
    /^SEQ +AGE +QUEUE +METHOD +CALL +TRIES +ERROR\n( *\d+ +\d+m?s +found +shop\.mail\.send +found:\d +1 +BAD_ADDRESS: nobody lives there: bad \d\n){2}$/,
  )
  assert.equal(few.stderr, 'the oldest 2 of 3; --limit shows more\n')
  assert.match((await run('dead', 'ls', '--error', 'bad', '--limit', '1')).stderr, /^the oldest 1, and there are more/)
  assert.match(await output('dead', 'ls', '--error', 'ODD'), /ODD: red \\x1b\[31m text\n$/, 'an error steers no terminal')
})

test('cli: a dead letter is shown with arguments, error and failures', async () => {
  const [letter] = await json('dead', 'ls', '--queue', 'found', '--limit', '1')
  const seq = String(letter?.seq)
  const [shown] = await json('dead', 'show', seq)
  assert.deepEqual(shown, letter)
  assert.deepEqual(shown?.args, ['bad 1'])
  const text = await output('dead', 'show', seq)
  for (const line of [
    /^error +BAD_ADDRESS: nobody lives there: bad 1$/m,
    /^ +1 +\S+ \S+ +BAD_ADDRESS/m,
    /^arguments:\n\[\n {2}"bad 1"\n\]$/m,
  ])
    assert.match(text, line)
  assert.deepEqual(await run('dead', 'show', '99999'), {
    status: 1,
    stdout: '',
    stderr: 'menagerie: NOT_FOUND: there is no dead letter 99999\n',
  })
})

test('cli: a dead call is retried with other arguments under its id', async () => {
  const [seq = 0] = await kill('edited', 'bad')
  const [retried] = await json('dead', 'retry', String(seq), '--args', '["good"]')
  assert.deepEqual(retried, { seq, id: 'edited:1' })
  await eventually('it has run', async () => (await sent()).includes('good'))
  assert.deepEqual(await deadIn('edited'), [])
  const gone = await run('dead', 'retry', String(seq))
  assert.equal(gone.status, 1)
  assert.match(gone.stderr, /NOT_FOUND: \d+: there is no dead letter \d+\nretried 0 dead calls, 1 failed\n$/)
})

test('cli: many dead calls are retried at a rate', async () => {
  const seqs = await kill('paced', 'bad 1', 'bad 2', 'bad 3', 'bad 4')
  const begun = performance.now()
  const { status, stderr } = await run('dead', 'retry', '--all', '--queue', 'paced', '--error', 'BAD', '--rate', '2')
  assert.deepEqual([status, stderr], [0, 'retried 4 dead calls\n'])
  assert.ok(performance.now() - begun >= 1_500)
  await eventually('all are dead again', async () => {
    const again = await deadIn('paced')
    return again.length === 4 && !again.some((seq) => seqs.includes(seq))
  })
})

test('cli: dropping dead letters must be confirmed', async () => {
  const [first, ...rest] = (await kill('dropped', 'bad 1', 'bad 2', 'bad 3')).map(String)
  const asked = await run('dead', 'drop', '--all', '--queue', 'dropped')
  assert.deepEqual(asked, {
    status: 78,
    stdout: '',
    stderr: 'menagerie: drop 3 dead letters for good? there is no terminal to ask on: --yes says so\n',
  })
  assert.deepEqual(await json('dead', 'drop', first ?? '', '--yes'), [{ seq: Number(first), dropped: true }])
  assert.equal((await run('dead', 'drop', '--all', '--queue', 'dropped', '--yes')).stderr, `dropped ${rest.length} dead letters\n`)
  assert.deepEqual(await deadIn('dropped'), [])
})

test('cli: a queue that is not there is told with the one that was meant', async () => {
  for (const words of [['show'], ['pause'], ['drain'], ['purge', '--yes']])
    assert.deepEqual(await run('queue', words[0] ?? '', 'purgd', ...words.slice(1)), {
      status: 1,
      stdout: '',
      stderr: 'menagerie: NOT_FOUND: there is no queue purgd, did you mean purged?\n',
    })
  const made = await run('call', 'shop.mail.send', '["x"]', '--queue', 'calsl')
  assert.deepEqual([made.status, made.stdout], [0, 'calsl:1\n'])
  assert.match(made.stderr, /^menagerie: there is no queue calsl, did you mean calls\? \(the queue is made now/)
})

test('cli: without a bus a command ends with one line, and no password in it', async () => {
  const port = await freePort()
  for (const words of [
    ['queue', 'ls'],
    ['dead', 'ls'],
    ['call', 'a.b.c'],
    ['call', 'a.b.c', '--queue', 'q'],
  ]) {
    const { status, stdout, stderr } = await run(...words, '--bus', `nats://me:secret@127.0.0.1:${port}`)
    assert.deepEqual([status, stdout], [1, ''])
    assert.match(stderr, /^menagerie: UNAVAILABLE: the bus does not answer at nats:\/\/127\.0\.0\.1:\d+: CONNECTION_REFUSED .*\n$/)
  }
})

test('cli: without JetStream there are calls and no queues', async (t) => {
  const plain = await startNats(t, { jetStream: false })
  for (const words of [
    ['queue', 'ls'],
    ['dead', 'ls'],
    ['call', 'a.b.c', '--queue', 'q'],
  ])
    assert.deepEqual(await run(...words, '--bus', plain.url), {
      status: 1,
      stdout: '',
      stderr: 'menagerie: UNAVAILABLE: the bus has no JetStream, which queues need\n',
    })
  assert.match((await run('call', 'a.b.c', '--bus', plain.url)).stderr, /nobody serves a\.b\.c/)
})

test('cli: in a project’s folder its bus is used, with its credentials', async (t) => {
  const guarded = await startNats(t, { config: 'authorization { user: me, password: "s3cret" }' })
  const named = project(t, {
    'config/node.ts': `
import { defineNode, env } from 'menagerie'

export default defineNode({ bus: { servers: ['${guarded.url}'], user: 'me', password: env('BUS_PASSWORD') } })
`,
  })
  assert.equal((await cli(named.dir, { BUS_PASSWORD: 's3cret' })('queue', 'ls')).status, 0)
  const wrong = await cli(named.dir, { BUS_PASSWORD: 'other' })('queue', 'ls')
  assert.equal(wrong.status, 1)
  assert.match(wrong.stderr, /^menagerie: UNAVAILABLE: the bus does not answer at .*Authorization Violation.*\n$/i)
  assert.deepEqual(await cli(named.dir)('queue', 'ls'), {
    status: 78,
    stdout: '',
    stderr: 'menagerie: config/node.ts: the environment has no BUS_PASSWORD\n',
  })
  const other = await cli(named.dir, { BUS_PASSWORD: 's3cret', NATS_URL: 'nats://127.0.0.1:1' })('queue', 'ls')
  assert.match(other.stderr, /127\.0\.0\.1:1: /, 'NATS_URL goes before the configuration, as in a node')
})

test('cli: without a bus named, the server of the nodes of this machine is used', async (t) => {
  const own = project(t, { 'other/node.js': `export default { bus: { embedded: { port: ${server.port} } } }` })
  assert.equal((await cli(own.dir)('queue', 'ls', '--config', 'other')).status, 0)
})

test('cli: wrong words are told all at once, with what was meant', async () => {
  const wrong = async (...words: string[]): Promise<string[]> => {
    const { status, stdout, stderr } = await run(...words)
    assert.deepEqual([status, stdout], [78, ''])
    return stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.replace('menagerie: ', ''))
  }
  assert.deepEqual(await wrong('dead', 'retyr', '1'), ['unknown command dead retyr, did you mean dead retry?', 'see menagerie --help'])
  assert.deepEqual(await wrong('status', 'x'), ['unknown command status, did you mean queue status?', 'see menagerie --help'])
  assert.deepEqual(await wrong('dead', 'ls', '--sicne', '2h', '--limit', '0', '--until', 'noon'), [
    'unknown option --sicne, did you mean --since?',
    '--limit 0: it must be a whole number from 1 on',
    '--until noon: not a time, it looks like 2h (ago) or 2026-11-24T08:30',
    'see menagerie dead ls --help',
  ])
  assert.deepEqual(await wrong('call', 'a.b', 'World', '--id', 'x', '--bus', 'http://x'), [
    'CAGE.MODULE.METHOD a.b: no method, it looks like sample.greeter.hello',
    `JSON World: not JSON; text needs its quotes: '"World"'`,
    '--bus http://x: not a NATS server, it looks like nats://host:4222',
    '--id needs --queue NAME: only queued calls have it',
    'see menagerie call --help',
  ])
  for (const words of [
    ['dead', 'drop'],
    ['dead', 'drop', '1', '--all'],
    ['dead', 'retry', '--queue', 'q'],
    ['dead', 'retry', '1', '2', '--args', '[]'],
  ])
    assert.equal((await wrong(...words)).length, 2, words.join(' '))
})

test('cli: every command has a help with an example, and --json', async () => {
  const all = await output('--help')
  const names = (await json<{ name: string }>('help')).map(({ name }) => name)
  assert.ok(names.length > 30 && !names.includes('complete-words'))
  const commands = await Promise.all(
    [
      'call',
      'completion',
      'dead',
      'doctor',
      'level',
      'ls',
      'new',
      'notify',
      'queue',
      'repl',
      'saga',
      'schedule',
      'status',
      'tail',
      'top',
      'tx',
      'types',
    ].map(
      async (file) =>
        Object.values((await import(`../../src/cli/${file}.ts`)) as object).flatMap((value) =>
          Array.isArray(value) ? value : [],
        ) as Command[],
    ),
  )
  for (const { name, usage, words, run: help } of commands.flat()) {
    assert.ok(all.includes(`\n  ${usage} `) && names.includes(name), name)
    assert.ok('json' in words, `${name} --json`)
    const text = await saying(() => help(['--help']))
    assert.match(text, new RegExp(`^usage: menagerie ${name}(?:.*\\n)*example:\n {2}menagerie ${name} ?|echo`, 'm'))
  }
  assert.match(all, /^Exit status: 0 done/m)
  assert.match(await output('completion', '--help'), /example:\n {2}menagerie completion bash/)
  assert.match(await output('dead', '--help'), /dead retry/)
  assert.equal((await run('dead')).status, 78)
})

test('cli: schedules are listed with their next runs, and one is run now', async () => {
  const [listed] = documents(await output('schedule', 'ls', '--json')) as { cage: string; name: string; next: string }[]
  assert.deepEqual([listed?.cage, listed?.name, listed?.next.slice(4)], ['shop', 'yearly', '-01-01T00:00:00.000Z'])
  assert.match(await output('schedule', 'run', 'shop.yearly'), /^schedule:shop\.yearly:now-/)
  const { status, stderr } = await run('schedule', 'run', 'shop.never')
  assert.deepEqual([status, stderr.trim()], [1, 'menagerie: UNAVAILABLE: no copy of cage shop has a schedule never'])
})

test('notify: what a module tells people is listed, filtered and followed', async (t) => {
  const tailing = running(t, folder.dir, { NATS_URL: server.url }, 'notify', 'tail')
  await tailing.until('waiting for notifications')
  await bus.call('shop', 'mail', 'complain', ['letter'], { deadline: Date.now() + 10_000, request: { id: 'r7' } })
  const { status, stdout } = await run('notify', 'ls', '--level', 'error', '--json')
  assert.equal(status, 0)
  type Told = { level: string; cage: string; module: string; request: string; message: string; details: object }
  const one = documents<Told>(stdout).find(({ message }) => message === 'the post is late') // the runtime tells things too
  assert.deepEqual(
    { level: one?.level, cage: one?.cage, module: one?.module, request: one?.request, message: one?.message, details: one?.details },
    { level: 'error', cage: 'shop', module: 'mail', request: 'r7', message: 'the post is late', details: { about: 'letter' } },
  )
  assert.match((await run('notify', 'ls')).stdout, /info\s+shop\.mail\s+it is nothing/)
  assert.match((await run('notify', 'ls', '--cage', 'nobody')).stderr, /there are no notifications/)
  await tailing.until('the post is late')
  assert.equal(await tailing.stop(), 0)
})
