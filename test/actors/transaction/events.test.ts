import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fold, needsJournal, type Plan, parseTransactionId, type TxEvent, transactionId } from '../../../src/actors/transaction/events.ts'

const PLAN: Plan = {
  by: 'transfers.move',
  request: { id: 'r' },
  deadline: 1_000,
  participants: [
    { kind: 'resource', name: 'east.execute', participant: 'prepared', resource: 'east' },
    { kind: 'module', name: 'bank.fees.charge', participant: 'compensable', cage: 'bank', module: 'fees', method: 'charge' },
  ],
}

test('transaction: an id tells its journal and number, also in a journal whose name has dashes', () => {
  const id = transactionId('Ab-c_1-0', 1_000_000)
  assert.deepEqual(parseTransactionId(id), { journal: 'Ab-c_1-0', tx: 1_000_000 })
  for (const odd of ['', 'x', 'a.b.c', 'a.B', '../x.1']) assert.equal(parseTransactionId(odd), undefined, odd)
})

test('transaction: a journal tells where each transaction stands', () => {
  const events: TxEvent[] = [
    { tx: 1, at: 10, type: 'begin', plan: PLAN },
    { tx: 2, at: 11, type: 'committing', plan: PLAN, commit: [0, 1], identities: [[0, 'xid']] },
    { tx: 1, at: 12, type: 'decide', commit: [0, 1], committed: [0] },
    { tx: 3, at: 13, type: 'begin', plan: PLAN },
    { tx: 3, at: 14, type: 'participant', index: 1, outcome: 'undone' },
    { tx: 3, at: 15, type: 'end', outcome: 'rolled back' },
  ]
  const views = fold(
    'j',
    events.map((event, n) => ({ at: n + 5, event })),
  )
  const [first, second, third] = [1, 2, 3].map((tx) => views.get(tx))
  assert.deepEqual(first?.outcomes, ['committed', 'not begun'])
  assert.deepEqual([first?.decision, first?.ended, first?.position, first?.id], [[0, 1], undefined, 5, 'j.1'])
  assert.deepEqual([...(second?.committing?.identities ?? [])], [[0, 'xid']])
  assert.equal(second?.decision, undefined)
  assert.deepEqual([third?.ended, third?.outcomes], ['rolled back', ['not begun', 'undone']])
})

test('transaction: one whose plan was trimmed away has ended', () => {
  assert.equal(fold('j', [{ at: 9, event: { tx: 1, at: 1, type: 'end', outcome: 'committed' } }]).size, 0)
})

test('transaction: a journal is written where something can half happen', () => {
  const needs = (...classes: string[]): boolean =>
    needsJournal(classes.map((participant) => ({ kind: 'resource', participant }) as Parameters<typeof needsJournal>[0][number]))
  assert.equal(needs(), false)
  assert.equal(needs('one-phase'), false)
  assert.equal(needs('prepared', 'irreversible'), false)
  assert.equal(needs('irreversible', 'irreversible'), false)
  assert.equal(needs('compensable'), true)
  assert.equal(needs('prepared', 'deferred'), true)
  assert.equal(needs('deferred', 'deferred'), true)
  assert.equal(needsJournal([{ kind: 'state', participant: 'prepared' }]), true)
})
