import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { RunOptions, RunResult } from '../../src/adapters/exec/api.ts'
import { fromSpawn } from '../../src/adapters/exec/errors.ts'
import { execOptions } from '../../src/adapters/exec/options.ts'
import { open } from '../../src/adapters/exec/resource.ts'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { project } from '../support/node.ts'

const adapter = ADAPTERS.get('exec')
if (!adapter) throw new Error('there is no adapter exec')

resourceConforms({
  name: 'exec',
  adapter,
  options: () => ({ commands: { echo: { file: 'echo' } } }),
  quick: { method: 'run', args: ['echo', ['hello']], result: { status: 0, signal: null, stdout: 'hello\n', stderr: '' } },
})

interface Tools {
  connection: ResourceConnection
  run(command: string, args?: string[], options?: RunOptions, scope?: Scope): Promise<RunResult>
  /** A file that does not exist yet. */
  file: string
}

async function tools(t: TestContext, commands: object, more: object = {}): Promise<Tools> {
  const resource = await open(execOptions.parse({ commands, ...more }), { cage: 'test', name: 'tools', log: recordingLog().log })
  const connection = await resource.connect(scope())
  atEnd(t, () => connection.close())
  return {
    connection,
    run: async (command, args = [], options = {}, given = scope()) =>
      (await connection.call('run', [command, args, options], given)) as RunResult,
    file: join(project(t, {}).dir, 'file'),
  }
}

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

function code(expected: string, message = /^tools/): (error: CageError) => boolean {
  return (error) => {
    assert.equal(error.code, expected, error.message)
    assert.match(error.message, message)
    return true
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')) // a zombie only waits for init
  } catch {
    return false
  }
}

/** The number that a command has written to a file. */
async function pidIn(file: string): Promise<number> {
  const text = await eventually('a number is in the file', () => existsSync(file) && /^\d+\n/.exec(readFileSync(file, 'utf8'))?.[0])
  return Number(text)
}

test('exec: status, stdout and stderr are the result, whatever the status', async (t) => {
  const { run } = await tools(t, { fail: { shell: 'echo out; echo err >&2; exit 3' } })
  assert.deepEqual(await run('fail'), { status: 3, signal: null, stdout: 'out\n', stderr: 'err\n' })
})

test('exec: a signal that ends a command is told', async (t) => {
  const { run } = await tools(t, { crash: { shell: 'kill -SEGV $$' } })
  assert.deepEqual(await run('crash'), { status: null, signal: 'SIGSEGV', stdout: '', stderr: '' })
})

test('exec: arguments are never parsed, with a shell or without', async (t) => {
  const { run } = await tools(t, { plain: { file: 'printf', args: ['<%s>'] }, line: { shell: 'printf "<%s>" "$@" | cat' } })
  const words = ['a b', '$(id)', '"; rm -rf /', '', '*', '-n', '`id`', 'é\n']
  const expected = words.map((word) => `<${word}>`).join('')
  assert.equal((await run('plain', words)).stdout, expected)
  assert.equal((await run('line', words)).stdout, expected)
})

test('exec: stdin is what is given, in whole, and nothing by default', async (t) => {
  const { run } = await tools(t, { cat: { file: 'cat', encoding: 'latin1' } })
  const bytes = Uint8Array.from({ length: 900_000 }, (_, n) => n % 251)
  const { stdout } = await run('cat', [], { stdin: bytes })
  assert.ok(Buffer.from(stdout, 'latin1').equals(bytes))
  assert.equal((await run('cat')).stdout, '')
})

test('exec: with the encoding bytes nothing is changed', async (t) => {
  const { run } = await tools(t, { cat: { file: 'cat', encoding: 'bytes' } })
  const { stdout } = await run('cat', [], { stdin: Uint8Array.of(0, 255, 254, 10) })
  assert.deepEqual([...(stdout as unknown as Uint8Array)], [0, 255, 254, 10])
})

test('exec: a command need not read its stdin', async (t) => {
  const { run } = await tools(t, { true: { file: 'true' } })
  assert.equal((await run('true', [], { stdin: 'x'.repeat(900_000) })).status, 0)
})

test('exec: what is not configured is not run', async (t) => {
  const { run, connection } = await tools(t, { date: { file: 'date', callerArgs: false }, echo: { file: 'echo' } })
  await assert.rejects(run('dat'), code('INVALID_ARGUMENT', /there is no command dat, did you mean date\?/))
  await assert.rejects(run('toString'), code('INVALID_ARGUMENT'))
  await assert.rejects(run('date', ['+%s']), code('INVALID_ARGUMENT', /takes no arguments/))
  await assert.rejects(run('echo', ['a\0b']), code('INVALID_ARGUMENT'))
  await assert.rejects(run('echo', [1 as unknown as string]), code('INVALID_ARGUMENT'))
  await assert.rejects(run('echo', [], { shell: true } as RunOptions), code('INVALID_ARGUMENT', /no option shell/))
  await assert.rejects(run('echo', [], { env: { LD_PRELOAD: 'x' } }), code('INVALID_ARGUMENT', /may not set LD_PRELOAD/))
  await assert.rejects(connection.call('execute', [], scope()), code('INVALID_ARGUMENT'))
})

test('exec: a command sees its own variables, not the secrets of the node', async (t) => {
  process.env.LEDGER_PASSWORD = 'secret'
  atEnd(t, () => void delete process.env.LEDGER_PASSWORD)
  const { run } = await tools(t, {
    env: { file: 'env', env: { FIXED: 'here' }, callerEnv: ['GIVEN'], cwd: '/' },
    pwd: { file: 'pwd', cwd: '/usr' },
  })
  const { stdout } = await run('env', [], { env: { GIVEN: 'there' } })
  assert.match(stdout, /^FIXED=here$/m)
  assert.match(stdout, /^GIVEN=there$/m)
  assert.match(stdout, /^PATH=/m)
  assert.doesNotMatch(stdout, /secret/)
  assert.equal((await run('pwd')).stdout, '/usr\n')
})

test('exec: a command that ignores SIGTERM and has forked ends with its children, after the grace', async (t) => {
  const { run, file } = await tools(
    t,
    { stubborn: { shell: `trap "" TERM; sleep 300 & echo $! > "$1"; echo $$ >> "$1"; wait; sleep 300` } },
    { graceMs: 200 },
  )
  const begun = performance.now()
  await assert.rejects(run('stubborn', [file], {}, scope(1_500)), code('DEADLINE_EXCEEDED'))
  assert.ok(performance.now() - begun >= 1_650, 'it had its grace')
  const pids = readFileSync(file, 'utf8').trim().split('\n').map(Number)
  assert.equal(pids.length, 2)
  for (const pid of pids) await eventually(`${pid} has ended`, () => !isAlive(pid))
})

test('exec: a command that ends at SIGTERM is given the time to, and its children too', async (t) => {
  const { run, file } = await tools(t, {
    polite: { shell: `sh -c 'trap "echo clean > $1.clean; exit 0" TERM; echo $$ > "$1"; while :; do sleep 0.05; done' sh "$1"; true` },
  })
  const gone = new AbortController()
  const running = run('polite', [file], {}, scope(20_000, gone.signal))
  const pid = await pidIn(file)
  gone.abort()
  await assert.rejects(running, code('CANCELLED'))
  assert.ok(!isAlive(pid))
  assert.equal(readFileSync(`${file}.clean`, 'utf8'), 'clean\n')
})

test('exec: what a command leaves running in its group ends with it', async (t) => {
  const { run, file } = await tools(t, { leaves: { shell: 'sleep 300 & echo $! > "$1"; echo done' } })
  const { stdout, status } = await within('it ends', run('leaves', [file]), 10_000)
  assert.deepEqual([stdout, status], ['done\n', 0])
  const pid = await pidIn(file)
  await eventually('the child has ended', () => !isAlive(pid))
})

test('exec: one that has left the group and holds stdout open holds nobody up', async (t) => {
  const { run, file } = await tools(
    t,
    { daemon: { shell: 'setsid sh -c \'echo $$ > "$1"; exec sleep 300\' sh "$1" & while [ ! -s "$1" ]; do sleep 0.02; done; echo done' } },
    { graceMs: 100 },
  )
  const { stdout } = await within('it ends', run('daemon', [file]), 10_000)
  assert.equal(stdout, 'done\n')
  process.kill(await pidIn(file), 'SIGKILL') // we have started it
})

test('exec: more output than the limit ends the command', async (t) => {
  const { run } = await tools(t, { yes: { file: 'yes', maxStdoutBytes: 10_000 }, loud: { shell: 'yes >&2', maxStderrBytes: 10 } })
  await assert.rejects(run('yes'), code('PAYLOAD_TOO_LARGE', /stdout than 10000 bytes/))
  await assert.rejects(run('loud'), code('PAYLOAD_TOO_LARGE', /stderr/))
  await assert.rejects(run('yes', [], { stdin: 'x'.repeat(1_000_001) }), code('PAYLOAD_TOO_LARGE'))
})

test('exec: one that cannot be started says why, and costs no connection', async (t) => {
  const folder = project(t, { 'no-program': 'text' })
  const { run, connection } = await tools(t, {
    missing: { file: 'there-is-no-such-program' },
    elsewhere: { file: 'true', cwd: '/there/is/no/such/folder' },
    forbidden: { file: join(folder.dir, 'no-program') },
    true: { file: 'true' },
  })
  await assert.rejects(run('missing'), code('UNAVAILABLE', /ENOENT/))
  await assert.rejects(run('elsewhere'), code('UNAVAILABLE', /ENOENT/))
  await assert.rejects(run('forbidden'), code('FORBIDDEN', /EACCES/))
  await assert.rejects(run('true', ['x'.repeat(200_000)]), code('INVALID_ARGUMENT', /E2BIG/))
  await assert.rejects(run('true', [], {}, scope(-1)), code('DEADLINE_EXCEEDED'))
  assert.equal(connection.broken, false)
  assert.equal((await run('true')).status, 0)
  assert.equal(fromSpawn(new Error('odd'), 'tools').code, 'INTERNAL')
})

test('exec: a command does not outlive a node that is killed', async (t) => {
  const { file } = await tools(t, { true: { file: 'true' } })
  const script = `
    import { open } from ${JSON.stringify(join(process.cwd(), 'src/adapters/exec/resource.ts'))}
    import { execOptions } from ${JSON.stringify(join(process.cwd(), 'src/adapters/exec/options.ts'))}
    const options = execOptions.parse({ graceMs: 100, commands: { sleep: { shell: 'trap "" TERM; sleep 0.3; echo $$ > "$1"; sleep 300; sleep 300' } } })
    const connection = await (await open(options, { cage: 'test', name: 'tools' })).connect()
    await connection.call('run', ['sleep', [process.argv.at(-1)]], { deadline: Date.now() + 60_000, signal: new AbortController().signal })
  `
  const owner = await tools(t, { node: { file: process.execPath, args: ['--import', 'tsx', '--input-type=module', '-e', script, '--'] } })
  const gone = new AbortController()
  const node = owner.run('node', [file], {}, scope(60_000, gone.signal))
  const pid = await pidIn(file)
  const parent = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  process.kill(parent, 'SIGKILL')
  assert.equal((await node).signal, 'SIGKILL')
  await eventually('its command has ended', () => !isAlive(pid))
  gone.abort()
})

test('exec: mistakes in the configuration are told', () => {
  const message = (options: object): string => execOptions.safeParse(options).error?.message ?? ''
  assert.match(message({ commands: {} }), /there is nothing to run/)
  assert.match(message({ commands: { a: {} } }), /either file or shell/)
  assert.match(message({ commands: { a: { file: 'x', shell: 'y' } } }), /either file or shell/)
  assert.match(message({ commands: { a: { file: 'x', env: { 'A B': '' } } } }), /no name of a variable/)
  assert.match(message({ commands: { a: { file: 'x', comand: 1 } } }), /comand/)
})
