import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readArguments, readDuration, readPrefix, readTarget, readTime, showBytes, showDuration } from '../../src/cli/values.ts'
import { flag, meantCommand, operand, operands, option, optional, options, readWords } from '../../src/cli/words.ts'

const NOW = Date.parse('2026-11-24T12:00:00Z')
const text = (given: string): string => given

test('words: options, operands and flags are read in any order', () => {
  const words = {
    target: operand('TARGET', text),
    args: optional('JSON', readArguments),
    bus: options('URL', '', text),
    delay: option('D', '', readDuration),
    json: flag(''),
  }
  const { values, mistakes } = readWords(['--bus', 'a', 'x', '--json', '--delay=5m', '[1]', '--bus', 'b'], words)
  assert.deepEqual(mistakes, [])
  assert.deepEqual(values, { target: 'x', args: [1], bus: ['a', 'b'], delay: 300_000, json: true })
  assert.deepEqual(readWords(['x'], words).values, { target: 'x', args: undefined, bus: [], delay: undefined, json: false })
})

test('words: every mistake is told at once, unknown options first', () => {
  const words = { name: operand('NAME', text), rate: option('N', '', readDuration), json: flag('') }
  const { mistakes } = readWords(['--rate', 'x', '--json=1', '--jsno', 'a', 'b'], words)
  assert.deepEqual(mistakes, [
    'unknown option --jsno, did you mean --json?',
    '--rate x: not a duration, it looks like 30s, 5m, 2h, 3d or 1500 (milliseconds)',
    '--json takes no value',
  ])
})

test('words: the value of a misspelt option is no mistake of its own', () => {
  assert.deepEqual(readWords(['--sicne', '2h'], { since: option('TIME', '') }).mistakes, ['unknown option --sicne, did you mean --since?'])
})

test('words: an option takes no other option for its value', () => {
  assert.deepEqual(readWords(['--since', '--json'], { since: option('TIME', ''), json: flag('') }).mistakes, ['--since needs a value'])
})

test('words: a missing operand is told, and one too many', () => {
  assert.deepEqual(readWords([], { name: operand('NAME', text) }).mistakes, ['NAME is missing'])
  assert.deepEqual(readWords(['a', 'b'], { name: operand('NAME', text) }).mistakes, ['"b" is not an option'])
  assert.deepEqual(readWords(['1', '2'], { seqs: operands('SEQ...', Number) }).values, { seqs: [1, 2] })
})

test('words: what begins with a dash is a value after --', () => {
  assert.deepEqual(readWords(['--', '-5'], { args: optional('JSON', readArguments) }).values, { args: [-5] })
})

test('words: a misspelt command is told with the one that was meant', () => {
  const commands = ['call', 'queue ls', 'queue status', 'dead retry', 'start']
  const meant = (line: string): string => meantCommand(line.split(' '), commands)
  assert.equal(meant('quue ls'), ', did you mean queue ls?')
  assert.equal(meant('statsu x'), ', did you mean queue status?')
  assert.equal(meant('retyr'), ', did you mean dead retry?')
  assert.equal(meant('strat --cage'), ', did you mean start?')
  assert.equal(meant('zzzzzzzz'), '')
})

test('values: durations are read and shown in units', () => {
  const read = {
    '30s': 30_000,
    '5m': 300_000,
    '2h': 7_200_000,
    '3d': 259_200_000,
    '1500': 1_500,
    '1h30m': 5_400_000,
    '1.5s': 1_500,
    '20ms': 20,
  }
  for (const [given, ms] of Object.entries(read)) assert.equal(readDuration(given), ms, given)
  for (const given of ['', 'x', '5 m', '5y', '-5m', 'm', '5mm', 'h5']) assert.throws(() => readDuration(given), /not a duration/, given)
  assert.equal(showDuration(86_400_000 + 7_300_000), '1d 2h')
  assert.equal(showDuration(41_200), '41s')
  assert.equal(showDuration(3), '3ms')
  assert.equal(showDuration(86_400_000 + 30_000), '1d')
  assert.equal(showBytes(999), '999 B')
  assert.equal(showBytes(1_536_000), '1.5 MB')
})

test('values: a time is ISO 8601, or how long ago', () => {
  assert.equal(readTime('2h', NOW), NOW - 7_200_000)
  assert.equal(readTime('2026-11-24T08:30:00Z', NOW), Date.parse('2026-11-24T08:30:00Z'))
  assert.equal(readTime('2026-11-24 08:30', NOW), new Date(2026, 10, 24, 8, 30).getTime())
  assert.equal(readTime('2026-11-24', NOW), new Date(2026, 10, 24).getTime())
  for (const given of ['yesterday', '2026-13-99', '24.11.2026']) assert.throws(() => readTime(given, NOW), /not a time/, given)
})

test('values: a target has three names, a prefix one to three', () => {
  assert.deepEqual(readTarget('sample.greeter.hello'), { cage: 'sample', module: 'greeter', method: 'hello' })
  for (const given of ['a', 'a.b', 'a.b.c.d', 'a..c', 'a.b.*', '>.b.c', 'a.b._c']) assert.throws(() => readTarget(given), given)
  for (const given of ['a', 'a.b', 'a.b.c']) assert.equal(readPrefix(given), given)
  for (const given of ['', '*', 'a.', 'a.b.>', 'a.b.c.d']) assert.throws(() => readPrefix(given), given)
})

test('values: a JSON list is the arguments, anything else is one argument', () => {
  assert.deepEqual(readArguments('[1,"a"]'), [1, 'a'])
  assert.deepEqual(readArguments('{"a":1}'), [{ a: 1 }])
  assert.throws(() => readArguments('World'), /text needs its quotes/)
})
