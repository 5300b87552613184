import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NODE_HELP, parseNodeArguments } from '../src/arguments.ts'
import { isServer } from '../src/servers.ts'

const parse = (line: string): ReturnType<typeof parseNodeArguments> => parseNodeArguments(line.split(' ').filter((word) => word !== ''))

/** The mistakes of a command line; fails if it has none. */
function mistakes(line: string): string[] {
  const parsed = parse(line)
  assert.equal(parsed.kind, 'mistakes', line)
  return parsed.kind === 'mistakes' ? parsed.mistakes : []
}

test('arguments: every option is read, and what may be repeated is collected', () => {
  assert.deepEqual(
    parse(
      '--cage a --cage b --cage a --bus nats://one:4222 --bus two,tls://three --config c --cages d --name n --log-level debug --ops 0.0.0.0:9100',
    ),
    {
      kind: 'run',
      options: {
        cages: ['a', 'b'],
        bus: ['nats://one:4222', 'two', 'tls://three'],
        configDir: 'c',
        cagesDir: 'd',
        name: 'n',
        logLevel: 'debug',
        ops: { host: '0.0.0.0', port: 9100 },
        json: false,
      },
    },
  )
})

test('arguments: where metrics and health are served is a port, with or without a host', () => {
  const opsOf = (text: string): unknown => {
    const parsed = parse(`--cage x --ops ${text}`)
    return parsed.kind === 'run' ? parsed.options.ops : undefined
  }
  assert.deepEqual(opsOf('9100'), { host: '127.0.0.1', port: 9100 })
  assert.deepEqual(opsOf('[::1]:9100'), { host: '::1', port: 9100 })
  for (const wrong of ['0', '65536', 'x', 'host:', '::1:9100'])
    assert.deepEqual(mistakes(`--cage x --ops ${wrong}`), [`--ops ${wrong}: not a port, it looks like 9100 or 0.0.0.0:9100`])
})

test('arguments: a cage is enough', () => {
  assert.deepEqual(parse('--cage sample'), {
    kind: 'run',
    options: {
      ...{ cages: ['sample'], bus: [], configDir: 'config', cagesDir: 'cages' },
      ...{ name: undefined, logLevel: undefined, ops: undefined, json: false },
    },
  })
  assert.deepEqual(parse('--cage=sample'), parse('--cage sample'))
})

test('arguments: without a cage there is nothing to run', () => {
  assert.deepEqual(mistakes(''), ['no cage is named: --cage NAME'])
  assert.deepEqual(mistakes('--name n'), ['no cage is named: --cage NAME'])
})

test('arguments: every mistake is told at once', () => {
  const found = mistakes('--cage 9x --bus ftp://x --log-level inof --verison')
  assert.deepEqual(found, [
    'unknown option --verison, did you mean --version?',
    '--cage 9x: a name has letters, digits, _ and -, at most 32, and begins with a letter',
    '--bus ftp://x: not a NATS server, it looks like nats://host:4222',
    '--log-level inof: unknown level, did you mean info? (trace, debug, info, warn, error, fatal, silent)',
  ])
})

const MISSPELT = { '--cgae': '--cage', '--buss': '--bus', '--confg': '--config', '--log-levl': '--log-level', '--hepl': '--help' }
for (const [given, meant] of Object.entries(MISSPELT)) {
  test(`arguments: ${given} is not an option, ${meant} is`, () => {
    assert.ok(mistakes(`--cage x ${given}`).includes(`unknown option ${given}, did you mean ${meant}?`))
  })
}

test('arguments: an option that resembles none is refused without a suggestion', () => {
  assert.deepEqual(mistakes('--cage x --zzzzzz'), ['unknown option --zzzzzz'])
})

test('arguments: a misspelt --cage does not make a second mistake of the cage that is missing', () => {
  assert.deepEqual(mistakes('--cgae=sample'), ['unknown option --cgae, did you mean --cage?'])
})

test('arguments: an option without its value is refused', () => {
  for (const name of ['--bus', '--config', '--cages', '--name', '--log-level']) {
    assert.deepEqual(mistakes(`--cage x ${name}`), [`${name} needs a value`])
  }
  assert.deepEqual(mistakes('--cage'), ['--cage needs a value'])
})

test('arguments: a word without dashes is refused, with the option that was probably meant', () => {
  assert.deepEqual(mistakes('--cage x cage'), ['"cage" is not an option, did you mean --cage?'])
  assert.deepEqual(mistakes('--cage x sample'), ['"sample" is not an option'])
})

test('arguments: a cage has a name that a subject can carry', () => {
  for (const name of ['9x', 'a.b', 'a/b', '..', 'a*', '>', '-a', 'x'.repeat(33), 'ä']) {
    assert.match(mistakes(`--cage=${name}`).join('\n'), /a name has letters/, name)
  }
  for (const name of ['a', 'A-b_9', 'x'.repeat(32)]) assert.equal(parse(`--cage ${name}`).kind, 'run', name)
})

test('arguments: a bus is a NATS server', () => {
  for (const url of ['http://a', 'nats://', 'nats://a:99999', 'ws://a', '']) assert.equal(isServer(url), false, url)
  for (const url of ['nats://a', 'tls://a:4222', 'nats://user:password@a:4222', 'a:4222', '127.0.0.1', 'nats://[::1]:4222']) {
    assert.equal(isServer(url), true, url)
  }
})

test('arguments: --help and --version win over every mistake', () => {
  assert.deepEqual(parse('--nonsense --help'), { kind: 'help' })
  assert.deepEqual(parse('-h'), { kind: 'help' })
  assert.deepEqual(parse('--nonsense --version'), { kind: 'version' })
  assert.deepEqual(parse('-v'), { kind: 'version' })
})

test('arguments: the help names every option', () => {
  for (const name of ['--cage', '--bus', '--config', '--cages', '--name', '--log-level', '--help', '--version']) {
    assert.ok(NODE_HELP.includes(`${name} `) || NODE_HELP.includes(`${name}\n`) || NODE_HELP.includes(`${name},`), name)
  }
})
