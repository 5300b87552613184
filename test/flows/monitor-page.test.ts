/**
 * The monitor's page over the sample, the almanac and the shop: readable, usable by keyboard alone, and steady while figures change.
 * MENAGERIE_SCREENSHOTS=1 has it make the pictures of docs/images, after some minutes of load.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { monitorConfig, openPage, PASSWORD, startBrowser } from '../support/monitor.ts'
import { type NodeProcess, type Project, project, ROOT, startNode } from '../support/node.ts'

const ITEMS = ['lamp', 'chair', 'desk']
const SHOTS = process.env.MENAGERIE_SCREENSHOTS
const MARKUP = '<img src=x onerror=alert(1)><script>alert(2)</script>'
const PAGES = ['', 'cage/shop', 'cage/shop/order.place', 'flow', 'queues', 'dead', 'incidents', 'sagas', 'schedules', 'nowhere']

/** How an order comes into its queue. */
const DESK = 'export async function take(ctx, order) { return await ctx.queue("orders").cages.shop.order.place(order) }'

let node: NodeProcess
let folder: Project
let words: string[]
let base: string
let sampleUrl: string
let browser: Browser
let nc: Awaited<ReturnType<typeof client>>

before(async () => {
  const [server, port, samplePort] = await Promise.all([startNats(suite), freePort(), freePort()])
  const monitor = await monitorConfig(port, 30_000)
  base = `http://127.0.0.1:${port}`
  sampleUrl = `http://127.0.0.1:${samplePort}`
  folder = project(suite, {
    'cages/shop/desk.js': DESK,
    'config/shop.ts': readFileSync(join(ROOT, 'config', 'shop.ts'), 'utf8').replace('maxAttempts: 5', 'maxAttempts: 1'),
    'config/sample.js': `export default { interfaces: { web: { kind: 'http', port: ${samplePort}, routes: { 'GET /hello/:name': 'greeter.hello' }, handler: 'pages.serve' } } }`,
    'config/monitor.js': monitor,
  })
  for (const cage of ['sample', 'almanac', 'shop']) cpSync(join(ROOT, 'cages', cage), join(folder.dir, 'cages', cage), { recursive: true })
  words = [...['sample', 'almanac', 'shop', 'monitor'].flatMap((cage) => ['--cage', cage]), '--bus', server.url]
  node = startNode(suite, folder.dir, words)
  nc = await client(suite, server.url)
  browser = await startBrowser(suite)
  await node.ready
  for (const item of ITEMS) await ask(nc, 'shop.stock.put', [item, 100_000])
  await order({ item: 'lamp', count: 2, customer: 'ann@example.org' })
  await order({ item: 'lamp', count: 1, customer: MARKUP, fail: 'payment' })
  await order({ item: 'chair', count: 1, customer: 'bob@example.org', fail: 'refund' })
  await eventually('two calls are dead, and a saga is an incident', async () => {
    const [dead, incidents] = await Promise.all([get('/api/dead'), get('/api/incidents')])
    return dead.length === 2 && incidents.length === 1
  })
})

const get = async (path: string): Promise<object[]> => (await (await fetch(base + path)).json()) as object[]

async function order(what: object): Promise<void> {
  const { status, body } = await ask(nc, 'shop.desk.take', [what])
  assert.equal(status, undefined, JSON.stringify(body))
}

const open = (place: string, options: BrowserContextOptions = {}): Promise<{ page: Page; offences: string[] }> =>
  openPage(browser, base, place, options)

/** What has the focus: its name as one reads it. */
const focused = (page: Page): Promise<string> =>
  page.evaluate<string>(
    '(document.activeElement.id || document.activeElement.getAttribute("aria-label") || document.activeElement.textContent).trim()',
  )

/** Tab, until what has the focus is called so. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  for (let n = 0; n < 80; n++) {
    await page.keyboard.press('Tab')
    if (name.test(await focused(page))) return
  }
  assert.fail(`Tab never came to ${name}`)
}

async function logIn(page: Page): Promise<void> {
  await tabTo(page, /^Log in$/)
  await page.keyboard.press('Enter')
  await page.keyboard.type('ann')
  await page.keyboard.press('Tab')
  await page.keyboard.type(PASSWORD)
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Log out' }).waitFor()
}

test('monitor page: every text and every line that means something is readable in both themes', async () => {
  const contrast = readFileSync(join(ROOT, 'test', 'support', 'contrast.js'), 'utf8')
  const { page, offences } = await open('')
  for (const place of PAGES) {
    await page.goto(`${base}/#/${place}`)
    await page.getByText('Loading …').waitFor({ state: 'detached' })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      const { bad, texts } = await page.evaluate<{ bad: string[]; texts: number }>(contrast)
      assert.deepEqual(bad, [], `${place} in ${colorScheme}`)
      assert.ok(texts > 20, `${place} shows something: ${texts} texts`)
    }
  }
  assert.deepEqual(offences, [])
  await page.close()
})

test('monitor page: by keyboard alone from the start to a search, and to a dead letter that is kept, edited and dropped', async () => {
  const [letter] = (await get('/api/dead')) as { seq: number; target: string }[]
  assert.ok(letter)
  const { page, offences } = await open('')
  await page.keyboard.press('Tab')
  assert.equal(await focused(page), 'Skip to the content')
  await page.keyboard.press('Enter')
  assert.equal(await focused(page), 'title')
  await page.keyboard.press('/')
  assert.equal(await focused(page), 'search')
  await page.keyboard.type(MARKUP)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: MARKUP }).waitFor()
  await page.getByText('Loading …').waitFor({ state: 'detached' })
  assert.equal(await page.locator('main img, main script').count(), 0)

  await page.reload()
  await page.getByRole('heading', { level: 1 }).waitFor()
  await logIn(page)
  await tabTo(page, /^Dead letters/)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Dead letters', level: 1 }).waitFor()
  await page.getByRole('link', { name: letter.target }).first().waitFor()
  await tabTo(page, new RegExp(`^${letter.target}$`))
  const ring = await page.evaluate<string>(
    'getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth',
  )
  assert.equal(ring, 'solid2px', 'what has the focus is seen')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Edit' }).waitFor()

  await tabTo(page, /^Drop/)
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.match(await focused(page), /^Drop/, 'the focus is where it was')

  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Enter')
  const args = page.getByLabel('Arguments, as JSON')
  for (const [text, complaint] of [['{"a": 1}', /are a list/] as const, ['[1,', /is no JSON/] as const]) {
    await args.fill(text)
    await page.keyboard.press('Tab')
    await page.keyboard.type('why')
    await page.keyboard.press('Enter')
    await page.getByText(complaint).waitFor()
    assert.match(await focused(page), /^field-args/, 'where it is wrong')
  }
  await page.keyboard.press('Escape')
  await tabTo(page, /^Drop/)
  await page.keyboard.press('Enter')
  await page.keyboard.press('Enter')
  await page.getByText('This is needed').waitFor()
  await page.keyboard.type('nobody waits for it')
  await page.keyboard.press('Enter')
  await eventually('it is dropped', async () => !((await get('/api/dead')) as { seq: number }[]).some(({ seq }) => seq === letter.seq))
  assert.deepEqual(offences, [])
  await page.close()
})

test('monitor page: figures change where they are; what was selected, scrolled, focused and typed stays', async () => {
  const { page, offences } = await open('cage/sample', { viewport: { width: 1_280, height: 300 } })
  const row = page.getByRole('row', { name: /^hello/ })
  const called = async (): Promise<void> => {
    const before = await row.textContent()
    for (let n = 0; n < 5; n++) await fetch(`${sampleUrl}/hello/World`)
    await eventually('the calls are seen', async () => (await row.textContent()) !== before)
  }
  await row.waitFor()
  await row.evaluate((line) => line.scrollIntoView({ block: 'center' }))
  await page.evaluate('kept = [...document.querySelectorAll("main *")]; getSelection().selectAllChildren(document.querySelector("h1"))')
  await called()
  const kept =
    '[kept.filter((e) => !e.isConnected).length, scrollY, getSelection().toString(), document.activeElement.id, document.activeElement.value]'
  const [gone, top, ...before] = await page.evaluate<unknown[]>(kept)
  assert.deepEqual([gone, before[0]], [0, 'sample'])
  assert.ok(Number(top) > 0)
  await page.evaluate('document.getElementById("search").focus({ preventScroll: true })')
  await page.keyboard.type('half a wor')
  await called()
  const after = await page.evaluate<unknown[]>(kept)
  assert.deepEqual([after[1], ...after.slice(3)], [top, 'search', 'half a wor'])
  assert.deepEqual(offences, [])
  await page.close()
})

test('monitor page: a chosen theme is kept; who wants no motion gets none', async () => {
  const { page, offences } = await open('', { colorScheme: 'dark', reducedMotion: 'reduce' })
  const theme = page.getByRole('button', { name: /^Theme/ })
  const ground = (): Promise<string> => page.evaluate<string>('getComputedStyle(document.documentElement).backgroundColor')
  const dark = await ground()
  await theme.click()
  await theme.filter({ hasText: 'Light' }).waitFor()
  const light = await ground()
  assert.notEqual(light, dark)
  await page.reload()
  await theme.filter({ hasText: 'Light' }).waitFor()
  assert.equal(await ground(), light)
  const moving = await page.evaluate<string[]>(
    '[...document.querySelectorAll("*")].filter((e) => { const s = getComputedStyle(e); return s.animationName !== "none" || parseFloat(s.transitionDuration) > 0 }).map((e) => e.className)',
  )
  assert.deepEqual(moving, [])
  assert.deepEqual(offences, [])
  await page.close()
})

test('monitor page: while the monitor is gone it says so and keeps what it has shown; then it goes on by itself', async () => {
  const { page } = await open('cage/shop')
  await page.getByRole('row', { name: /^place/ }).waitFor()
  assert.equal(await node.stop(), 0)
  await page.getByRole('alert').getByText('does not answer').waitFor()
  assert.equal(await page.getByRole('row', { name: /^place/ }).count(), 1, 'it is still there')
  assert.match((await page.locator('main').getAttribute('class')) ?? '', /stale/)
  node = startNode(suite, folder.dir, words)
  await node.ready
  await page.getByText('does not answer').waitFor({ state: 'detached' })
  await page.getByText('Live', { exact: true }).waitFor()
  await page.close()
})

/** Orders and greetings for so long: what pictures need. */
async function load(forMs: number): Promise<void> {
  const endAt = Date.now() + forMs
  for (let n = 0; Date.now() < endAt; n++) {
    const customer = `${['ann', 'bob', 'cy', 'dee'][n % 4]}${n}@example.org`
    const turn: Promise<unknown>[] = [order({ item: ITEMS[n % 3], count: 1 + (n % 3), customer, ...(n % 41 === 7 && { fail: 'payment' }) })]
    for (let m = 0; m < 6; m++) turn.push(fetch(`${sampleUrl}/hello/${customer}`).then((answer) => answer.text()))
    await Promise.all([...turn, setTimeout(70 + 40 * Math.sin(n / 25))])
  }
}

if (SHOTS) {
  test('monitor page: pictures for docs/images', async () => {
    mkdirSync(join(ROOT, 'docs', 'images'), { recursive: true })
    const { page } = await open('')
    await logIn(page)
    await load(150_000)
    const working = load(30_000)
    await order({ item: 'desk', count: 4, customer: 'fay@example.org', approveMs: 60_000 })
    await order({ item: 'lamp', count: 2, customer: 'gus@example.org', fail: 'shipping' })
    folder.write(
      'cages/sample/greeter.ts',
      `${readFileSync(join(ROOT, 'cages', 'sample', 'greeter.ts'), 'utf8')}\nexport async function wave( {`,
    )
    await eventually('it is broken', async () => JSON.stringify(await get('/api/overview')).includes('greeter is broken'))
    for (const [name, place, colorScheme, width, height] of [
      ['home-light', '', 'light', 1_280, 800],
      ['home-dark', '', 'dark', 1_280, 800],
      ['cage', 'cage/shop', 'light', 1_280, 800],
      ['flow', 'flow', 'light', 1_280, 700],
      ['timeline', 'search/gus@example.org', 'dark', 1_280, 700],
      ['phone', '', 'light', 360, 780],
    ] as const) {
      await page.setViewportSize({ width, height })
      await page.emulateMedia({ colorScheme })
      await page.goto(`${base}/#/${place}`)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.getByText('Loading …').waitFor({ state: 'detached' })
      await page.screenshot({ path: join(ROOT, 'docs', 'images', `monitor-${name}.png`) })
    }
    await working
    await page.close()
  })
}
