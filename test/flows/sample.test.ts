/** The sample cage as it is delivered, on ports of its own. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { startNats } from '../../src/testing/nats.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { curl, exchange, run } from '../support/http.ts'
import { startLoad } from '../support/load.ts'
import { type LogEntry, type NodeProcess, project, ROOT, startNode } from '../support/node.ts'

const TAKEN_OVER_MS = 3_000
/** From here on the pauses between two tries grow no more. */
const LONGEST_WAIT_TRIES = 6
/** What must never be read. */
const SEALED = 'sealed'

interface Sample {
  dir: string
  url: string
  port: number
  securePort: number
}

/** A copy of the sample, with a secret beside its pages, and a bus. */
async function copy(owner: Owner): Promise<Sample> {
  const { url } = await startNats(owner)
  const [port, securePort] = [await freePort(), await freePort()]
  const { dir, write } = project(owner, { 'cages/sample/html-secret/a.html': SEALED, 'secret.txt': SEALED })
  for (const cage of ['sample', 'almanac']) cpSync(join(ROOT, 'cages', cage), join(dir, 'cages', cage), { recursive: true })
  const config = readFileSync(join(ROOT, 'config', 'sample.ts'), 'utf8')
  assert.ok(config.includes('8080') && config.includes('8443'))
  write('config/sample.ts', config.replace('8080', String(port)).replace('8443', String(securePort)))
  return { dir, url, port, securePort }
}

function startSample(owner: Owner, { dir, url }: Sample, ...words: string[]): NodeProcess {
  return startNode(owner, dir, ['--cage', 'sample', '--bus', url, ...words])
}

let sample: Sample
let address: string
let secureAddress: string

before(async () => {
  sample = await copy(suite)
  address = `http://127.0.0.1:${sample.port}`
  secureAddress = `https://127.0.0.1:${sample.securePort}`
  await startSample(suite, sample).ready
})

test('sample: its pages are served, with their types', async () => {
  const pages: [string, string, RegExp][] = [
    ['/', 'text/html; charset=utf-8', /<h1>It works<\/h1>/],
    ['/index.html', 'text/html; charset=utf-8', /<h1>It works<\/h1>/],
    ['/page1.html?from=here', 'text/html; charset=utf-8', /<h1>Page 1<\/h1>/],
    ['/dir/page2.html', 'text/html; charset=utf-8', /<h1>Page 2<\/h1>/],
    ['/dir/%70age2.html', 'text/html; charset=utf-8', /<h1>Page 2<\/h1>/],
    ['/style.css', 'text/css; charset=utf-8', /max-width/],
  ]
  for (const [path, type, content] of pages) {
    const { status, headers, text } = await curl(address + path)
    assert.deepEqual([status, headers.get('content-type')], [200, type], path)
    assert.match(text, content)
  }
  const head = await curl('--head', `${address}/page1.html`)
  assert.deepEqual([head.status, head.text], [200, ''])
  assert.ok(Number(head.headers.get('content-length')) > 0)
})

test('sample: a page that has not changed is not sent again', async () => {
  const first = await curl(`${address}/page1.html`)
  const second = await curl('-H', `If-None-Match: ${first.headers.get('etag')}`, `${address}/page1.html`)
  assert.deepEqual([second.status, second.text], [304, ''])
  writeFileSync(join(sample.dir, 'cages', 'sample', 'html', 'page1.html'), '<h1>Page 1</h1> now longer')
  const third = await curl('-H', `If-None-Match: ${first.headers.get('etag')}`, `${address}/page1.html`)
  assert.deepEqual([third.status, third.text], [200, '<h1>Page 1</h1> now longer'])
})

test('sample: what is not there is 404, as text; a method other than GET and HEAD is 405 with Allow', async () => {
  for (const path of ['/nowhere.html', '/dir', '/dir/', '/page1.html/', '/page1.html/more']) {
    const { status, headers, text } = await curl(address + path)
    assert.deepEqual([status, headers.get('content-type'), text], [404, 'text/plain; charset=utf-8', 'There is no such page\n'], path)
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const { status, headers } = await curl('-X', method, `${address}/page1.html`)
    assert.deepEqual([status, headers.get('allow'), headers.get('content-type')], [405, 'GET, HEAD', 'text/plain; charset=utf-8'], method)
  }
  assert.equal((await curl('-d', 'a=1', `${address}/`)).status, 405)
  assert.equal((await curl('-X', 'POST', `${address}/hello/World`)).status, 405)
})

test('sample: no path leads out of the folder', async (t) => {
  const html = join(sample.dir, 'cages', 'sample', 'html')
  symlinkSync(join(sample.dir, 'secret.txt'), join(html, 'link.txt'))
  symlinkSync(sample.dir, join(html, 'up'))
  symlinkSync('page1.html', join(html, 'inside.html'))
  mkdirSync(join(html, 'folder.html'))
  const ways = [
    '/../../../secret.txt',
    '/../html-secret/a.html',
    '/dir/../../html-secret/a.html',
    '/dir/../../pages.ts',
    '/%2e%2e/%2e%2e/%2e%2e/secret.txt',
    '/..%2f..%2f..%2fsecret.txt',
    '/%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.txt',
    '/..%5c..%5c..%5csecret.txt',
    '/..\\..\\..\\secret.txt',
    '/%252e%252e/%252e%252e/%252e%252e/secret.txt',
    '/..%c0%af..%c0%afsecret.txt',
    '/....//....//secret.txt',
    '//etc/passwd',
    '/%2fetc/passwd',
    '/page1.html%00',
    '/..%00/secret.txt',
    '/%00',
    '/link.txt',
    '/up/secret.txt',
    '/folder.html',
    '/../../../../../../../../../../etc/passwd',
    `${join(sample.dir, 'secret.txt')}`,
    'http://a/../../../secret.txt',
  ]
  for (const path of ways) {
    const received = await exchange(t, sample.port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    assert.match(received, /^HTTP\/1\.1 40[04] /, path)
    assert.doesNotMatch(received, /sealed|root:|import/, path)
  }
  for (const path of ['/%', '/%zz', '/%ff']) {
    const received = await exchange(t, sample.port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    assert.match(received, /^HTTP\/1\.1 40[04] /, path)
  }
  assert.equal((await curl(`${address}/inside.html`)).status, 200, 'a link within the folder is followed')
})

test('sample: GET /hello/:name greets, through a module that calls another module', async () => {
  const { status, headers, text } = await curl(`${address}/hello/World`)
  assert.deepEqual([status, headers.get('content-type')], [200, 'text/plain; charset=utf-8'])
  assert.match(text, /^Hello, World! You are number \d+\.$/)
  assert.match((await curl(`${address}/hello/J%C3%B6rg%20%2F%20M`)).text, /^Hello, Jörg \/ M! /)
  assert.equal((await curl(`${address}/hello/`)).status, 400, 'a name is needed')
})

test('sample: GET /welcome/:name calls another cage, and makes do without it', async (t) => {
  assert.match((await curl(`${address}/welcome/World`)).text, /^Hello, World! You are number \d+\. Nobody runs the almanac\.$/)
  const almanac = startNode(t, sample.dir, ['--cage', 'almanac', '--bus', sample.url])
  await almanac.ready
  assert.match((await curl(`${address}/welcome/World`)).text, /^Hello, World! You are number \d+\. It is .+\.$/)
})

test('sample: HTTPS serves the same, with a certificate made at the first start and kept', async (t) => {
  const fresh = await copy(t)
  const certificate = join(fresh.dir, '.menagerie', 'interfaces', 'sample', 'secure', 'certificate.pem')
  const shown = async (): Promise<string> => {
    const { stdout } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${fresh.securePort}`, '-CAfile', certificate], 'Q\n')
    assert.match(stdout.toString(), /Verify return code: 0 \(ok\)/)
    return /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(stdout.toString())?.[0] ?? ''
  }
  const first = startSample(t, fresh)
  await first.ready
  const address = `https://127.0.0.1:${fresh.securePort}`
  assert.match((await curl('--cacert', certificate, `${address}/hello/World`)).text, /^Hello, World!/)
  assert.match((await curl('--cacert', certificate, `${address}/dir/page2.html`)).text, /Page 2/)
  await assert.rejects(curl(`${address}/`), /curl ended with 60/, 'nobody vouches for it')
  const before = await shown()
  assert.equal(await first.stop(), 0)
  await startSample(t, fresh).ready
  assert.equal(await shown(), before)
  assert.match((await curl('--insecure', `${secureAddress}/`)).text, /It works/)
})

test('sample: of two copies on one machine the second takes the ports over when the first is killed, and no call is lost but those it had', async (t) => {
  const both = await copy(t)
  const first = startSample(t, both, '--name', 'first')
  await first.ready
  const second = startSample(t, both, '--name', 'second', '--log-level', 'debug')
  await second.ready
  const waits = (child: string) => (entry: LogEntry) => entry.child === child && Number(entry.tries) >= LONGEST_WAIT_TRIES
  await Promise.all(['interface web', 'interface secure'].map((child) => second.until(`${child} waits for its port`, waits(child))))
  const bus = await testBus(t, both.url)
  const load = startLoad(bus, 500, 2_000, 'sample.greeter.hello', () => ['you'])
  atEnd(t, () => load.stop())
  await eventually('both are under load', () => load.calls > 500)
  const killedAt = performance.now()
  const answered = load.durations.length + load.failures.length
  first.kill('SIGKILL')
  await first.exited
  const goneAt = performance.now()
  const inFlight = load.calls - answered // at most: those of the other copy are among them
  const greeting = await eventually('the port is served again', async () => {
    const { text } = await curl(`http://127.0.0.1:${both.port}/hello/World`).catch(() => ({ text: '' }))
    return text !== '' && text
  })
  const takenOverMs = performance.now() - killedAt
  assert.match(greeting, /^Hello, World!/)
  await eventually(
    'HTTPS too',
    async () =>
      await curl('--insecure', `https://127.0.0.1:${both.securePort}/`).then(
        ({ status }) => status === 200,
        () => false,
      ),
  )
  await eventually('calls go on', () => load.calls > 2_000)
  await load.stop()
  t.diagnostic(`HTTP served again after ${takenOverMs.toFixed(0)} ms; ${load.failures.length} of ${load.calls} calls failed`)
  assert.ok(takenOverMs < TAKEN_OVER_MS, `${takenOverMs} ms`)
  assert.deepEqual(
    load.failures.filter(({ startedAt }) => startedAt > goneAt),
    [],
    'every call that failed was made while the first was there',
  )
  assert.ok(load.failures.length <= inFlight, `${load.failures.length} calls failed, ${inFlight} were in flight`)
})
