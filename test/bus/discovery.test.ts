import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type NatsConnection, RequestStrategy, type ServiceInfo, type ServiceStats } from 'nats'
import { ask, client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { type Owner, suite } from '../../src/testing/owner.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'

const MAX_PAYLOAD = 64 * 1024
const TOKEN = /^[a-zA-Z0-9_-]+$/ // ADR-32: names of services and endpoints
const SEMVER = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

const FILES = {
  'cages/sample/greeter.js': `
    export async function hello(ctx, name) { return 'Hello, ' + name + '!' }
    export async function $bye(ctx) { return 'bye' }
    export async function fail(ctx, message) { throw new Error(message) }
    export async function busy(ctx, ms) { for (const end = performance.now() + ms; performance.now() < end;); }`,
  'cages/other/clerk.js': 'export async function work() {}',
}

let server: NatsServer
let nc: NatsConnection
let node: NodeProcess
let folder: Project
before(async () => {
  server = await startNats(suite, { config: `max_payload: ${MAX_PAYLOAD}` })
  nc = await client(suite, server.url)
  ;({ node, folder } = await start(suite, FILES, ['sample', 'other'], 'node-a'))
})

async function start(
  owner: Owner,
  files: Record<string, string>,
  cages: string[],
  name: string,
): Promise<{ node: NodeProcess; folder: Project }> {
  const made = project(owner, files)
  const words = [...cages.flatMap((cage) => ['--cage', cage]), '--bus', server.url, '--name', name]
  const started = startNode(owner, made.dir, words)
  await started.ready
  return { node: started, folder: made }
}

interface Identity {
  type: string
  name: string
  id: string
  version: string
  metadata: Record<string, string>
}

/** That many answers to a discovery question. */
async function discover<T = Identity>(subject: string, count: number): Promise<T[]> {
  const answers: T[] = []
  const replies = await nc.requestMany(subject, '', { strategy: RequestStrategy.Count, maxMessages: count, maxWait: 5_000 })
  for await (const msg of replies) answers.push(msg.json<T>())
  return answers
}

async function one<T>(verb: string, cage: string): Promise<T> {
  return (await nc.request(`$SRV.${verb}.${cage}`, '', { timeout: 5_000 })).json<T>()
}

async function endpointNames(cage: string): Promise<string[]> {
  return ((await one<ServiceInfo>('INFO', cage)).endpoints ?? []).map((endpoint) => endpoint.name).sort()
}

async function statsOf(cage: string, endpoint: string): Promise<Record<string, unknown>> {
  const stats = await one<ServiceStats>('STATS', cage)
  const found = stats.endpoints?.find((candidate) => candidate.name === endpoint)
  assert.ok(found, `no endpoint ${endpoint}`)
  return found as unknown as Record<string, unknown>
}

function assertIdentity(identity: Identity, type: string): void {
  assert.equal(identity.type, `io.nats.micro.v1.${type}_response`)
  assert.match(identity.name, TOKEN)
  assert.match(identity.id, TOKEN)
  assert.match(identity.version, SEMVER)
  assert.deepEqual(Object.keys(identity.metadata).sort(), ['node', 'node_version', 'pid', 'runtime'])
  assert.deepEqual(
    [identity.metadata.node, identity.metadata.pid, identity.metadata.node_version],
    ['node-a', String(node.pid), process.version],
  )
  assert.match(identity.metadata.runtime ?? '', /^menagerie \d/)
}

test('bus: $SRV.PING is answered by every cage', async () => {
  const answers = await discover('$SRV.PING', 2)
  assert.deepEqual(answers.map((answer) => answer.name).sort(), ['other', 'sample'])
  for (const answer of answers) {
    assertIdentity(answer, 'ping')
    assert.deepEqual(Object.keys(answer).sort(), ['id', 'metadata', 'name', 'type', 'version'])
  }
})

test('bus: $SRV.INFO shows a cage’s endpoints as ADR-32 has them', async () => {
  const info = await one<ServiceInfo & { type: string }>('INFO', 'sample')
  assertIdentity(info as unknown as Identity, 'info')
  assert.equal(typeof info.description, 'string')
  assert.deepEqual(
    info.endpoints.find((endpoint) => endpoint.name === 'greeter-hello'),
    { name: 'greeter-hello', subject: 'sample.greeter.hello', queue_group: 'sample', metadata: { version: '1', args: 'name' } },
  )
  for (const endpoint of info.endpoints) assert.match(endpoint.name, TOKEN)
  assert.ok(info.endpoints.some((endpoint) => endpoint.subject === 'sample.greeter.$bye'))
})

test('bus: an endpoint’s subject can be called as it stands', async () => {
  const info = await one<ServiceInfo>('INFO', 'sample')
  const bye = info.endpoints.find((endpoint) => endpoint.name === 'greeter-_bye')
  assert.equal((await ask(nc, bye?.subject ?? '')).body, 'bye')
})

test('bus: $SRV.STATS has ADR-32’s counters', async () => {
  const stats = await one<ServiceStats & { type: string }>('STATS', 'sample')
  assertIdentity(stats as unknown as Identity, 'stats')
  assert.match(stats.started, RFC_3339)
  const startedAt = Date.parse(stats.started)
  assert.ok(startedAt <= Date.now() && startedAt > Date.now() - 10 * 60_000, stats.started)
  assert.deepEqual(
    Object.fromEntries(Object.entries(await statsOf('sample', 'greeter-hello')).map(([key, value]) => [key, typeof value])),
    {
      name: 'string',
      subject: 'string',
      queue_group: 'string',
      metadata: 'object',
      num_requests: 'number',
      num_errors: 'number',
      last_error: 'string',
      processing_time: 'number',
      average_processing_time: 'number',
    },
  )
})

test('bus: discovery by name and by id asks that cage and that copy only', async () => {
  const [sample] = await discover('$SRV.PING.sample', 1)
  assert.equal(sample?.name, 'sample')
  for (const verb of ['PING', 'INFO', 'STATS']) {
    const named: Identity[] = await discover(`$SRV.${verb}.sample.${sample?.id}`, 1)
    assert.deepEqual(
      named.map(({ name, id }) => [name, id]),
      [['sample', sample?.id]],
    )
  }
  await assert.rejects(nc.request('$SRV.PING.nothing'), { code: '503' })
  await assert.rejects(nc.request('$SRV.PING.sample.nobody'), { code: '503' })
  await assert.rejects(nc.request(`$SRV.PING.other.${sample?.id}`), { code: '503' })
})

test('bus: nats.js’s own discovery client understands the answers', async () => {
  const discovery = nc.services.client({ strategy: RequestStrategy.Count, maxMessages: 1, maxWait: 5_000 })
  for await (const answer of await discovery.ping('sample')) assert.equal(answer.name, 'sample')
  for await (const answer of await discovery.info('sample')) assert.ok(answer.endpoints.length >= 4)
  for await (const answer of await discovery.stats('sample')) assert.ok((answer.endpoints?.length ?? 0) >= 4)
})

test('bus: the counters are true', async () => {
  const before = await statsOf('sample', 'greeter-fail')
  assert.deepEqual([before.num_requests, before.num_errors, before.last_error], [0, 0, ''])
  await Promise.all(Array.from({ length: 40 }, (_, n) => ask(nc, 'sample.greeter.hello', [n])))
  for (const message of ['first', 'second', 'third']) await ask(nc, 'sample.greeter.fail', [message])
  const hello = await statsOf('sample', 'greeter-hello')
  assert.deepEqual([hello.num_requests, hello.num_errors, hello.last_error], [40, 0, ''])
  const failing = await statsOf('sample', 'greeter-fail')
  assert.deepEqual([failing.num_requests, failing.num_errors], [3, 3])
  assert.notEqual(failing.last_error, '')
})

test('bus: the processing time is true, in nanoseconds', async () => {
  for (let n = 0; n < 4; n++) await ask(nc, 'sample.greeter.busy', [25])
  const { num_requests, processing_time, average_processing_time } = (await statsOf('sample', 'greeter-busy')) as Record<string, number>
  assert.equal(num_requests, 4)
  assert.ok(processing_time && processing_time >= 100e6 && processing_time < 1_000e6, `${processing_time} ns`)
  assert.ok(Number.isInteger(processing_time))
  assert.ok(Math.abs((average_processing_time ?? 0) - processing_time / 4) <= 1) // each is rounded by itself
})

test('bus: one-way calls count like the others', async () => {
  const { num_requests } = await statsOf('sample', 'greeter-_bye')
  for (let n = 0; n < 5; n++) nc.publish('sample.greeter.$bye')
  await ask(nc, 'sample.greeter.hello', ['behind'])
  assert.equal((await statsOf('sample', 'greeter-_bye')).num_requests, Number(num_requests) + 5)
})

test('bus: endpoints come with a saved file and go with a removed one', async () => {
  const before = await endpointNames('other')
  assert.deepEqual(before, ['clerk-work'])
  let since = node.log.length
  folder.write('cages/other/second.js', 'export async function one() {}\nexport async function two() {}')
  await node.until('the module', (entry) => entry.msg === 'module in service' && entry.module === 'second', { since })
  assert.deepEqual(await endpointNames('other'), ['clerk-work', 'second-one', 'second-two'])
  since = node.log.length
  folder.write('cages/other/second.js', 'export async function two() {}\nexport async function three() {}')
  await node.until('the next version', (entry) => entry.msg === 'module in service' && entry.module === 'second', { since })
  assert.deepEqual(await endpointNames('other'), ['clerk-work', 'second-three', 'second-two'])
  since = node.log.length
  folder.remove('cages/other/second.js')
  await node.until('its end', (entry) => entry.msg === 'module is gone' && entry.module === 'second', { since })
  assert.deepEqual(await endpointNames('other'), before)
})

test('bus: counters outlive a reload, and the version is the new one', async () => {
  await ask(nc, 'other.clerk.work')
  const { num_requests } = await statsOf('other', 'clerk-work')
  const since = node.log.length
  folder.write('cages/other/clerk.js', 'export async function work() { return 2 }')
  await node.until('the next version', (entry) => entry.msg === 'module in service' && entry.module === 'clerk', { since })
  assert.equal((await ask(nc, 'other.clerk.work')).body, 2)
  const after = await statsOf('other', 'clerk-work')
  assert.equal(after.num_requests, Number(num_requests) + 1)
  assert.notDeepEqual(after.metadata, { version: '1', args: '' })
})

test('bus: two copies of a cage answer with ids of their own', async (t) => {
  const copies = { 'cages/twin/clerk.js': 'export async function work() {}' }
  await Promise.all([start(t, copies, ['twin'], 'node-b'), start(t, copies, ['twin'], 'node-c')])
  const answers = await discover('$SRV.PING.twin', 2)
  assert.deepEqual(answers.map((answer) => answer.metadata.node).sort(), ['node-b', 'node-c'])
  assert.notEqual(answers[0]?.id, answers[1]?.id)
  for (let n = 0; n < 50; n++) await ask(nc, 'twin.clerk.work')
  const stats = await discover<ServiceStats>('$SRV.STATS.twin', 2)
  const requests = stats.map((copy) => copy.endpoints?.[0]?.num_requests ?? 0)
  assert.equal(
    requests.reduce((sum, n) => sum + n, 0),
    50,
  )
})

test('bus: a cage that has stopped answers no more', async (t) => {
  const { node: leaving } = await start(t, { 'cages/brief/clerk.js': 'export async function work() {}' }, ['brief'], 'node-d')
  assert.equal((await discover('$SRV.PING.brief', 1)).length, 1)
  await leaving.stop()
  await assert.rejects(nc.request('$SRV.PING.brief'), { code: '503' })
})

test('bus: an unknown method is NOT_FOUND with the nearest name', async () => {
  const { status, body } = await ask(nc, 'sample.greeter.helo')
  assert.deepEqual([status, body], [404, { code: 'NOT_FOUND', message: 'module sample.greeter has no method helo, did you mean hello?' }])
  const far = await ask(nc, 'sample.greeter.somethingElse')
  assert.deepEqual(far.body, { code: 'NOT_FOUND', message: 'module sample.greeter has no method somethingElse' })
})

test('bus: an unknown module has no responders', async () => {
  await assert.rejects(nc.request('sample.greetr.hello', '[]', { timeout: 30_000 }), { code: '503' })
})

test('bus: an error’s text of any length leaves $SRV.STATS answerable', async (t) => {
  const text = "'x'.repeat(200_000)"
  await start(
    t,
    {
      'cages/verbose/talker.ts': `import { CageError } from 'menagerie'\nexport function talk(): void { throw new CageError('CONFLICT', ${text}) }`,
    },
    ['verbose'],
    'node-e',
  )
  assert.equal((await ask(nc, 'verbose.talker.talk')).status, 409)
  const { num_errors, last_error } = await statsOf('verbose', 'talker-talk')
  assert.deepEqual([num_errors, last_error], [1, 'x'.repeat(500)])
  assert.equal((await ask(nc, 'verbose.talker.talk')).status, 409)
})

test('bus: a cage whose description is too large for the bus says so, and serves on', async (t) => {
  const methods = Array.from({ length: 700 }, (_, n) => `export function method${n}() { return ${n} }`).join('\n')
  await start(t, { 'cages/broad/shop.js': methods }, ['broad'], 'node-f')
  for (const verb of ['INFO', 'STATS']) {
    const msg = await nc.request(`$SRV.${verb}.broad`, '', { timeout: 5_000 })
    assert.equal(msg.headers?.get('Nats-Service-Error-Code'), '413')
  }
  assert.equal((await ask(nc, 'broad.shop.method699')).body, 699)
  assert.equal((await discover('$SRV.PING.broad', 1)).length, 1)
})
