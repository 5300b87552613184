import assert from 'node:assert/strict'
import { test } from 'node:test'
import { propose } from '../../src/cli/complete.ts'
import { completeName, readCall } from '../../src/cli/line.ts'
import { readOneOf } from '../../src/cli/values.ts'
import { flag, operand, operands, option, options } from '../../src/cli/words.ts'

const text = (given: string): string => given
const COMMANDS = [
  {
    name: 'call',
    words: { target: operand('CAGE.MODULE.METHOD', text), queue: option('NAME', ''), json: flag(''), bus: options('URL', '', text) },
  },
  { name: 'queue ls', words: { json: flag('') } },
  { name: 'queue show', words: { name: operand('NAME', text) } },
  { name: 'dead drop', words: { seqs: operands('SEQ...', Number) } },
  { name: 'log', words: { place: operand('CAGE[.MODULE]', text), level: operand('LEVEL', readOneOf('debug', 'default')) } },
  { name: 'new cage', words: { name: operand('NAME', text) } },
]
const proposed = (...typed: string[]): string[] => {
  const { words, live } = propose(COMMANDS, typed)
  return live === undefined ? words : [...words, `<${live}>`]
}

test('completion: commands, and what belongs to their families', () => {
  assert.deepEqual(proposed(''), ['--help', '--version', 'call', 'dead', 'help', 'log', 'new', 'queue'])
  assert.deepEqual(proposed('qu'), ['queue'])
  assert.deepEqual(proposed('queue', ''), ['ls', 'show'])
  assert.deepEqual(proposed('queue', 's'), ['show'])
  assert.deepEqual(proposed('nothing', ''), [])
})

test('completion: options that are not given yet; one that may be repeated comes again', () => {
  assert.deepEqual(proposed('call', '--'), ['--bus', '--help', '--json', '--queue'])
  assert.deepEqual(proposed('call', '--json', '--bus', 'x', '--'), ['--bus', '--help', '--queue'])
  assert.deepEqual(proposed('queue', 'ls', '--j'), ['--json'])
})

test('completion: operands and values come from the bus, or from what there is to choose', () => {
  assert.deepEqual(proposed('call', ''), ['<method>'])
  assert.deepEqual(proposed('call', '--json', '--bus', 'x', 'sam'), ['<method>'])
  assert.deepEqual(proposed('call', 'a.b.c', ''), [])
  assert.deepEqual(proposed('call', 'a.b.c', '--queue', ''), ['<queue>'])
  assert.deepEqual(proposed('queue', 'show', ''), ['<queue>'])
  assert.deepEqual(proposed('log', ''), ['<place>'])
  assert.deepEqual(proposed('log', 'sample', 'def'), ['default'])
})

test('completion: nothing is proposed for what is yet to be made, or is a file', () => {
  assert.deepEqual(proposed('new', 'cage', ''), [])
  assert.deepEqual(proposed('dead', 'drop', '1', ''), [])
  assert.deepEqual(proposed('call', '--bus', ''), [])
})

const never = (): boolean => false

test('repl: a line that names a method is a call, its words are JSON where they can be', () => {
  assert.deepEqual(readCall('sample.greeter.hello World 5 {"a": [1, 2]} "two words" \'and "three"\' null', never), {
    target: { cage: 'sample', module: 'greeter', method: 'hello' },
    args: ['World', 5, { a: [1, 2] }, 'two words', 'and "three"', null],
  })
  assert.deepEqual(readCall(' a.b.c ', never)?.args, [])
  assert.deepEqual(readCall('a.b.c -5 [1,"x y"]', never)?.args, [-5, [1, 'x y']])
})

test('repl: anything else is JavaScript', () => {
  for (const line of [
    '1 + 1',
    'a.b',
    'a.b.c.d',
    'cages.a.b.c(1)',
    'a.b.c = 5',
    'a.b.c + 1',
    'a.b.c, 1',
    'a.b.c ? 1 : 2',
    'a.b.c - 1',
    'let x = a.b.c',
  ])
    assert.equal(readCall(line, never), undefined, line)
  assert.equal(
    readCall('answer.data.first', (name) => name === 'answer'),
    undefined,
  )
})

test('repl: an open quote or bracket is told', () => {
  assert.throws(() => readCall('a.b.c "open', never), /a quote is open: "open/)
  assert.throws(() => readCall('a.b.c {"a": 1', never), /a bracket is open/)
})

test('repl: a name is completed part by part, at the line’s beginning and behind cages', () => {
  const names = ['sample.greeter.hello', 'sample.greeter.welcome', 'sample.counter.next', 'shop.mail.send']
  assert.deepEqual(completeName('s', names), [['sample', 'shop'], 's'])
  assert.deepEqual(completeName('sample.', names), [['sample.counter', 'sample.greeter'], 'sample.'])
  assert.deepEqual(completeName('await cages.sample.greeter.h', names), [['cages.sample.greeter.hello'], 'cages.sample.greeter.h'])
  assert.equal(completeName('let s', names), undefined)
  assert.equal(completeName('zzz', names), undefined)
})
