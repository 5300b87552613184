import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parametersOf, signaturesIn } from '../../src/actors/signature.ts'

// written as text: a compiler would lay them out anew
const method = (text: string): ((...args: never[]) => unknown) => new Function(`return ${text}`)() as (...args: never[]) => unknown

test('signature: a method that runs tells the names of its parameters behind the context', () => {
  assert.equal(parametersOf(method('async function hello(ctx, name, options = {}, ...rest) { return name }')), 'name, options?, ...rest')
  assert.equal(parametersOf(method('async (_ctx, { a, b = 2 } = {}, text = "a, (b") => a')), '{ a, b = 2 }?, text?')
  assert.equal(parametersOf(method('function* many(ctx, from = (1 + 2) * 3 /* a, b */, to) {}')), 'from?, to')
  assert.equal(parametersOf(method('(ctx, f = (a, b) => a) => f')), 'f?')
})

test('signature: one that takes nothing, or does not tell, has none', () => {
  assert.equal(parametersOf(method('async ctx => [ctx]')), '')
  assert.equal(parametersOf(method('() => {}')), '')
  assert.equal(parametersOf(method('function (ctx) { return (1, 2) }')), '')
  assert.equal(parametersOf(method('(function f(ctx, a) {}).bind(null)')), '')
})

test('signature: a source tells what its exported functions are declared to take and return', () => {
  const found = signaturesIn(`
import type { Context } from 'menagerie'
// export async function not(ctx: Context, here: string): Promise<void> {}
export async function hello(_ctx: Context, name: string, options: { loud?: boolean } = {}): Promise<string> { return name }
export async function list<T extends Map<string, number>>(
  ctx: Context, // the context
  by: Map<string, number>,
  order: (a: string, b: string) => number,
): Promise<{ name: string }[]> {
  return []
}
export const twice = async (ctx: Context, n: number): Promise<number> => n * 2
export function bare(ctx) {}
export const answer = 42
async function _hidden(ctx: Context) {}
`)
  assert.deepEqual(Object.fromEntries(found), {
    hello: { parameters: 'name: string, options: { loud?: boolean } = {}', returns: 'string' },
    list: { parameters: 'by: Map<string, number>, order: (a: string, b: string) => number', returns: '{ name: string }[]' },
    twice: { parameters: 'n: number', returns: 'number' },
    bare: { parameters: '', returns: undefined },
  })
})

test('signature: a source that ends in the middle of it tells nothing, and does not fail', () => {
  assert.deepEqual([...signaturesIn('export async function f(ctx: Context, a: Map<string').keys()], ['f'])
  assert.deepEqual([...signaturesIn("export function f(ctx, text = 'open").values()], [{ parameters: '', returns: undefined }])
})
