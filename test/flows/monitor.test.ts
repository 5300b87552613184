/** The monitor cage as its users meet it: over HTTP, and in a real browser. It comes with the package: the project of this test has none of its own. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { monitorConfig, openPage, PASSWORD, startBrowser } from '../support/monitor.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'

const GOOD = 'export async function ring(ctx, what) { return what }'
const TILL = `
  import { CageError } from 'menagerie'
  let open = false
  export async function charge(ctx, order) {
    if (!open && order.id !== 'mended') throw new CageError('UNAVAILABLE', 'the bank <img src=x onerror=alert(1)> is closed')
    return order.id
  }
  export async function later(ctx, order) { return await ctx.queue('bills', { id: order.id }).module('shop', 'till').charge(order) }
  export async function take() { return 'taken' }
  export async function giveBack() { throw new CageError('CONFLICT', 'it is gone') }
  export async function refuse() { throw new CageError('CONFLICT', 'no') }
  export async function both(ctx) {
    const xa = ctx.transaction()
    xa.cages.shop.till.take().undo('giveBack')
    xa.cages.shop.till.refuse()
    await xa.execute()
  }`

let node: NodeProcess
let folder: Project
let base: string
let browser: Browser
let nc: Awaited<ReturnType<typeof client>>
let words: string[]

before(async () => {
  const [server, port] = await Promise.all([startNats(suite), freePort()])
  const monitor = await monitorConfig(port, 1_000)
  base = `http://127.0.0.1:${port}`
  folder = project(suite, {
    'cages/shop/till.js': TILL,
    'cages/shop/bell.js': GOOD,
    'config/shop.js': 'export default { queues: { bills: { maxAttempts: 1 } }, transactions: { patienceMs: 100 } }',
    'config/monitor.js': monitor,
  })
  words = ['--cage', 'shop', '--cage', 'monitor', '--bus', server.url]
  node = startNode(suite, folder.dir, words)
  nc = await client(suite, server.url)
  browser = await startBrowser(suite)
  await node.ready
})

type Json = Record<string, never> & { [key: string]: never }
const get = async <T = Json>(path: string): Promise<T> => (await (await fetch(base + path)).json()) as T
const post = (path: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(base + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-menagerie': 'act', ...headers },
    body: JSON.stringify(body),
  })

async function dead(id: string): Promise<number> {
  await ask(nc, 'shop.till.later', [{ id, at: `table ${id}` }])
  const letters = await eventually(`${id} is dead`, async () => {
    const found = (await get<{ id: string; seq: number }[]>('/api/dead')).filter((letter) => letter.id === id)
    return found.length > 0 && found
  })
  return (letters as { seq: number }[])[0]?.seq ?? 0
}

interface Overview {
  problems: { what: string }[]
  cages: { cage: string; modules: { module: string; methods: { method: string; requests: number; errors: Record<string, number> }[] }[] }[]
}

const overview = (): Promise<Overview> => get<Overview>('/api/overview')

async function requestsOf(module: string, method: string): Promise<number> {
  const { cages } = await overview()
  const methods = cages.find(({ cage }) => cage === 'shop')?.modules.find((one) => one.module === module)?.methods
  return methods?.find((one) => one.method === method)?.requests ?? 0
}

test('monitor: it shows what was called, and the history outlives a restart', async () => {
  for (let n = 0; n < 20; n++) await ask(nc, 'shop.bell.ring', [n])
  await eventually('the calls are seen', async () => (await requestsOf('bell', 'ring')) === 20)
  const isSeen = async (): Promise<boolean> => {
    const { points } = await get<{ points: ({ rate: number } | null)[] }>('/api/history?name=shop.bell.ring&range=15m')
    return points.some((point) => (point?.rate ?? 0) > 0)
  }
  await eventually('the history has what is called meanwhile', async () => {
    await ask(nc, 'shop.bell.ring', [0])
    return await isSeen()
  })
  assert.equal(await node.stop(), 0)
  node = startNode(suite, folder.dir, words)
  await node.ready
  await eventually('the history is there again', isSeen)
})

test('monitor: whoever has not logged in, or comes from another site, changes nothing', async () => {
  const seq = await dead('safe')
  const act = { act: 'dead.drop', seq, reason: 'it is mine' }
  assert.equal((await post('/api/act', act)).status, 401)
  assert.equal((await post('/api/act', act, { cookie: 'menagerie_monitor=ann.9999999999999.AAAA' })).status, 401)
  assert.equal((await post('/api/login', { user: 'ann', password: 'wrong' })).status, 401)
  const login = await post('/api/login', { user: 'ann', password: PASSWORD })
  assert.equal(login.status, 200)
  const set = login.headers.get('set-cookie') ?? ''
  assert.match(set, /HttpOnly; SameSite=Strict/)
  const cookie = set.split(';')[0] ?? ''
  for (const headers of [{ 'x-menagerie': '' }, { origin: 'http://evil.example' }, { 'sec-fetch-site': 'cross-site' }])
    assert.equal((await post('/api/act', act, { cookie, ...headers })).status, 403, JSON.stringify(headers))
  const page = await fetch(base)
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'.*frame-ancestors 'none'/)
  assert.equal(page.headers.get('x-frame-options'), 'DENY')
  assert.ok(
    (await get<{ seq: number }[]>('/api/dead')).some((letter) => letter.seq === seq),
    'it is still there',
  )
  assert.equal((await post('/api/act', { ...act, reason: '' }, { cookie })).status, 400, 'a reason is needed')
  assert.equal((await post('/api/act', act, { cookie })).status, 200)
  assert.ok(!(await get<{ seq: number }[]>('/api/dead')).some((letter) => letter.seq === seq))
  await eventually('it is recorded', async () => JSON.stringify(await get<object[]>('/api/notifications')).includes('it is mine'))
})

test('monitor: an order number finds everything that happened to it', async () => {
  await dead('order-4711')
  const moments = await get<{ kind: string; what: string; code?: string }[]>(`/api/search?q=${encodeURIComponent('order-4711')}`)
  const kinds = new Set(moments.map(({ kind }) => kind))
  for (const kind of ['call', 'enqueue', 'dead']) assert.ok(kinds.has(kind), `${kind} in ${JSON.stringify(moments)}`)
  assert.ok(moments.some(({ what, code }) => what.includes('till.charge') && code === 'UNAVAILABLE'))
  assert.deepEqual(await get('/api/search?q=nobody-has-this'), [])
})

const open = (place: string, width = 1_280): Promise<{ page: Page; offences: string[] }> =>
  openPage(browser, base, place, { viewport: { width, height: 900 } })

test('monitor, in a browser: a call shows up by itself; a broken module is told first, and is well again', async () => {
  const { page, offences } = await open('cage/shop')
  const row = page.getByRole('row', { name: /^ring / })
  await row.waitFor()
  const calls = 7 + (await requestsOf('bell', 'ring'))
  for (let n = 0; n < 7; n++) await ask(nc, 'shop.bell.ring', [n])
  await row.getByText(String(calls), { exact: true }).first().waitFor()
  await page.goto(`${base}/#/`)
  folder.write('cages/shop/bell.js', 'export async function ring( {')
  const problem = page.getByRole('link', { name: /shop.bell is broken/ })
  await problem.waitFor()
  assert.match((await overview()).problems.map(({ what }) => what).join('\n'), /bell/)
  folder.write('cages/shop/bell.js', GOOD)
  await problem.waitFor({ state: 'detached' })
  assert.deepEqual(offences, [])
  await page.close()
})

test('monitor, in a browser: a dead letter is mended and retried, by keyboard alone', async () => {
  const seq = await dead('<b>bold</b>')
  const { page, offences } = await open(`dead/${seq}`)
  await page.getByText('<img src=x onerror=alert(1)>').first().waitFor()
  assert.equal(await page.locator('main img, main b').count(), 0, 'what users send is text')
  await page.getByRole('button', { name: 'Log in' }).focus()
  await page.keyboard.press('Enter')
  await page.keyboard.type('ann')
  await page.keyboard.press('Tab')
  await page.keyboard.type(PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Edit' }).waitFor()
  await page.getByRole('button', { name: 'Edit' }).focus()
  await page.keyboard.press('Enter')
  await page.getByLabel('Arguments, as JSON').fill('[{ "id": "mended" }]')
  await page.keyboard.press('Tab')
  await page.keyboard.type('the order was wrong')
  await page.keyboard.press('Enter')
  await eventually('it is retried', async () => !(await get<{ seq: number }[]>('/api/dead')).some((letter) => letter.seq === seq))
  assert.match(JSON.stringify(await get('/api/notifications')), /the order was wrong/)
  assert.deepEqual(offences, [])
  await page.close()
})

test('monitor, in a browser: an incident is resolved', async () => {
  await ask(nc, 'shop.till.both', [])
  await eventually('there is an incident', async () => (await get<object[]>('/api/incidents')).length === 1)
  const { page, offences } = await open('incidents')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('textbox', { name: 'Name' }).fill('ann')
  await page.getByRole('textbox', { name: 'Password' }).fill(PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: /^Done/ }).first().click()
  await page.getByRole('textbox', { name: 'Reason' }).fill('given back by hand')
  await page.keyboard.press('Enter')
  await eventually('it is resolved', async () => (await get<object[]>('/api/incidents')).length === 0)
  assert.deepEqual(offences, [])
  await page.close()
})

test('monitor, in a browser: every page at 360 px and in both themes, without a complaint', async () => {
  const { page, offences } = await open('', 360)
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme })
    const places = [
      '',
      'flow',
      'cage/shop',
      'queues',
      'dead',
      'incidents',
      'sagas',
      'transactions',
      'schedules',
      'resources',
      'notifications',
    ]
    for (const place of [...places, 'search/order-4711']) {
      await page.goto(`${base}/#/${place}`)
      await page.getByRole('heading').first().waitFor()
      const [wide, room] = await page.evaluate<[number, number]>(
        '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
      )
      assert.ok(wide <= room, `${place || 'home'} is ${wide} px wide`)
    }
  }
  assert.deepEqual(offences, [])
  await page.close()
})
