/** Mail that a running node reads and answers: letters as calls, answers in transactions, by a queue, and what a killed node leaves behind. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type DovecotServer, PASSWORD, startDovecot } from '../support/dovecot.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'
import { type SmtpServer, startSmtp } from '../support/smtp.ts'

const ORDERS = `
  export async function mailed(ctx, letter) {
    if (letter.subject === 'kill') process.kill(process.pid, 'SIGKILL')
    const xa = ctx.transaction()
    xa.state.update('letters', (all = []) => [...all, letter.subject])
    xa.mail.send({ to: letter.from, subject: 'Re: ' + letter.subject, text: letter.text, attachments: letter.attachments.map(({ filename, content }) => ({ filename, content })) })
    await xa.execute()
  }
  export async function answer(ctx, letter) {
    await ctx.resources.mail.send({ to: letter.from, subject: 'Re: ' + letter.subject, text: '', id: ctx.request.callId })
  }
  export async function letters(ctx) { return await ctx.state.get('letters') }
  export async function refused(ctx) {
    const xa = ctx.transaction()
    xa.state.update('letters', (all = []) => [...all, 'never'])
    xa.mail.send({ to: 'spam@x.test', text: '' })
    await xa.execute()
  }
`

let nats: NatsServer
let dovecot: DovecotServer
let smtp: SmtpServer
let folder: Project
let node: NodeProcess

const start = (): NodeProcess => startNode(suite, folder.dir, ['--cage', 'shop', '--bus', nats.url], { MAIL_PASSWORD: PASSWORD })

before(async () => {
  ;[nats, dovecot, smtp] = await Promise.all([startNats(suite), startDovecot(suite), startSmtp(suite)])
  for (const user of ['user1', 'user2']) dovecot.create(user)
  folder = project(suite, {
    'cages/shop/orders.js': ORDERS,
    'config/shop.ts': `
      import { defineCage, env } from 'menagerie'
      const box = { kind: 'email', host: '127.0.0.1', password: env('MAIL_PASSWORD'), pollMs: 200, retryMs: 100, attempts: 1 }
      export default defineCage({
        resources: { mail: { kind: 'email', host: '127.0.0.1', port: ${smtp.port}, from: 'Shop <shop@x.test>' } },
        interfaces: {
          orders: { ...box, protocol: 'imap', port: ${dovecot.ports.imap}, user: 'user1', call: 'orders.mailed' },
          queries: { ...box, protocol: 'pop3', port: ${dovecot.ports.pop3}, user: 'user2', call: 'orders.answer', queue: 'retry' },
        },
      })`,
  })
  node = start()
  await node.ready
})

const letter = (subject: string, body = 'hello'): string =>
  `From: Ann <ann@x.test>\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@x.test>\r\n\r\n${body}\r\n`
const sent = async (subject: string): Promise<string[]> =>
  (await smtp.stats()).messages.map(({ raw }) => raw).filter((raw) => raw.includes(`\r\nSubject: ${subject}\r\n`))

async function call(owner: Parameters<typeof testBus>[0], method: string): Promise<unknown> {
  const bus = await testBus(owner, nats.url)
  return await bus.call('shop', 'orders', method, [], { deadline: Date.now() + 20_000, request: { id: 't' } })
}

test('email: a letter is answered in a transaction, once, and is gone after that', async (t) => {
  dovecot.deliver('user1', letter('first'))
  await eventually('it is answered', async () => (await sent('Re: first')).length > 0)
  await eventually('it is gone', () => dovecot.messages('user1').length === 0)
  assert.equal((await sent('Re: first')).length, 1)
  assert.deepEqual(await call(t, 'letters'), ['first'])
})

test('email: a message that is refused at the commit undoes the transaction', async (t) => {
  await assert.rejects(call(t, 'refused'), (error: { code: string; details: { transaction: { recoverable: boolean } } }) => {
    assert.deepEqual([error.code, error.details.transaction.recoverable], ['FORBIDDEN', true])
    return true
  })
  assert.deepEqual(await call(t, 'letters'), ['first'])
})

test('email: a letter that goes through a queue has one answer', async () => {
  dovecot.deliver('user2', letter('query'))
  await eventually('it is answered', async () => (await sent('Re: query')).length > 0)
  await eventually('it is gone', () => dovecot.messages('user2').length === 0)
  assert.equal((await sent('Re: query')).length, 1)
})

test('email: a letter that kills the node is set aside in the end, the others are handled', async () => {
  dovecot.deliver('user1', letter('kill'))
  await within('it has killed the node', node.exited)
  node = start()
  await node.ready
  dovecot.deliver('user1', letter('after'))
  await eventually('it is answered', async () => (await sent('Re: after')).length > 0)
  await eventually(
    'only the bad one is left, with its flag',
    () =>
      dovecot
        .messages('user1')
        .map(({ flags }) => flags)
        .join() === 'F',
    60_000,
  )
})
