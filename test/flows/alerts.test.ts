/** Notifications that reach people: two nodes of a monitor, a mail server, and a web server; one node is killed on the way. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { startNats } from '../../src/testing/nats.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type NodeProcess, project, ROOT, startNode } from '../support/node.ts'
import { startSmtp } from '../support/smtp.ts'

interface Posted {
  path: string
  headers: IncomingHttpHeaders
  body: Record<string, unknown>
}

test('alerts: mail and webhook without code, once each from two nodes; killed between, the other goes on', async (t) => {
  const [nats, smtp, port] = await Promise.all([startNats(t), startSmtp(t), freePort()])
  const posted: Posted[] = []
  let isBroken = false
  const web = createServer((request, response) => {
    let text = ''
    request.on('data', (data) => (text += String(data)))
    request.on('end', () => {
      posted.push({ path: request.url ?? '', headers: request.headers, body: JSON.parse(text) as Record<string, unknown> })
      if (!isBroken) response.end('{}')
    })
  })
  await new Promise<void>((resolve) => web.listen(port, '127.0.0.1', resolve))
  atEnd(t, () => {
    web.closeAllConnections()
    web.close()
  })
  const folder = project(t, {
    'cages/monitor/alerts.ts': readFileSync(join(ROOT, 'cages/monitor/alerts.ts'), 'utf8'),
    'config/monitor.ts': `export default {
      timeoutMs: 2_000,
      queues: { retry: { backoff: { firstMs: 100 } } },
      resources: {
        mail: { kind: 'email', host: '127.0.0.1', port: ${smtp.port}, from: 'Menagerie <menagerie@x.test>' },
        chat: { kind: 'http', url: 'http://127.0.0.1:${port}' },
      },
      interfaces: {
        onCall: { kind: 'notifications', level: 'alert', call: 'alerts.mail', args: ['mail', { to: 'ops@x.test', label: 'shop' }], queue: 'retry' },
        hooks: { kind: 'notifications', level: 'warn', cages: ['shop'], call: 'alerts.webhook', args: ['chat', { path: '/hooks' }] },
        room: { kind: 'notifications', level: 'alert', call: 'alerts.webhook', args: ['chat', { path: '/room', textField: 'text' }], queue: 'retry' },
      },
    }`,
  })
  const start = (name: string): NodeProcess => startNode(t, folder.dir, ['--cage', 'monitor', '--name', name, '--bus', nats.url])
  const nodes = [start('one'), start('two')]
  await Promise.all(nodes.map(({ ready }) => ready))
  const bus = await testBus(t, nats.url)
  const send = (message: string, level: 'warn' | 'alert', details?: unknown): Promise<void> =>
    bus.notifications.send({ level, cage: 'shop', module: 'bank', at: Date.now(), message, details }, Date.now() + 10_000)
  const hooks = (path: string): Posted[] => posted.filter((one) => one.path === path)

  await send('the <b>bank</b>\r\nBcc: all@x.test', 'alert', { secret: '<script>' })
  await eventually('a letter and two posts are there', async () => (await smtp.stats()).messages.length > 0 && posted.length >= 2)
  const [letter = assert.fail('no letter')] = (await smtp.stats()).messages
  assert.deepEqual(letter.to, ['ops@x.test'])
  assert.match(letter.raw, /^Subject: \[shop\] alert shop\.bank: the <b>bank<\/b> Bcc: all@x\.test\r$/m)
  assert.doesNotMatch(letter.raw.slice(letter.raw.indexOf('text/html')), /<b>|<script>/)
  assert.match(letter.raw, /&lt;script&gt;/)
  assert.match(String(hooks('/room')[0]?.body.text), /^alert shop\.bank: the <b>bank<\/b> Bcc: all@x\.test\n/)
  const [{ body, headers } = assert.fail('no post')] = hooks('/hooks')
  assert.deepEqual([body.level, body.cage, body.module, body.seq], ['alert', 'shop', 'bank', body.seq])
  const { 'idempotency-key': key } = headers
  assert.match(String(key), new RegExp(`^"?notifications:monitor\\.hooks:${body.seq}-${body.seq}"?$`))

  isBroken = true
  await send('the second one', 'warn')
  await eventually('it is being posted', () => hooks('/hooks').length === 2)
  nodes[0]?.kill('SIGKILL') // it has the lease, or runs the call, or neither: no matter
  await nodes[0]?.exited
  isBroken = false
  await send('the third one', 'warn')
  const of = (message: string): Posted[] => hooks('/hooks').filter((one) => one.body.message === message)
  await eventually('both have been posted', () => of('the third one').length > 0 && of('the second one').length > 1, 30_000)
  assert.equal(new Set(of('the second one').map((one) => one.headers['idempotency-key'])).size, 1, 'a repetition can be told')
  assert.equal(of('the third one').length, 1)
  assert.equal((await smtp.stats()).messages.length, 1)
})
