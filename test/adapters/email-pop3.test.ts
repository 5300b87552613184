/** The POP3 client, against servers that do what real ones seldom do, and beside Python's. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { before, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import type { Scope } from '../../src/adapters/adapter.ts'
import type { MailServer } from '../../src/adapters/email/options.ts'
import { Pop3Client } from '../../src/adapters/email/pop3-client.ts'
import type { CageError } from '../../src/errors.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type DovecotServer, PASSWORD, startDovecot } from '../support/dovecot.ts'
import { openMailbox, told } from '../support/mailbox.ts'

const run = promisify(execFile)
let dovecot: DovecotServer

before(async () => {
  dovecot = await startDovecot(suite)
})

const scope = (ms = 5_000): Scope => ({ deadline: Date.now() + ms, signal: new AbortController().signal })
const options = (port: number, more: Partial<MailServer> = {}): MailServer => ({
  ...{ host: '127.0.0.1', port, encryption: 'none', tls: { verify: true }, user: 'ann', password: 'pw' },
  ...more,
})

/** A server that answers each command with these bytes, `write` decides how; commands that it does not know get +OK. */
async function fake(
  t: TestContext,
  answers: Record<string, string | Buffer>,
  write: (socket: Socket, bytes: Buffer) => void = (socket, bytes) => void socket.write(bytes),
): Promise<{ port: number; heard: string[] }> {
  const heard: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    const answer = (command: string): void => write(socket, Buffer.from(answers[command] ?? '+OK\r\n'))
    answer('greeting')
    let rest = ''
    socket.on('data', (chunk) => {
      rest += String(chunk)
      for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
        heard.push(rest.slice(0, end))
        answer(rest.slice(0, end).split(' ')[0] ?? '')
        rest = rest.slice(end + 2)
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(t, () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, heard }
}

async function open(t: TestContext, port: number): Promise<Pop3Client> {
  const client = await Pop3Client.open(options(port), 'orders', scope())
  atEnd(t, () => client.destroy())
  return client
}

const unavailable =
  (text: RegExp, code = 'UNAVAILABLE') =>
  (error: CageError): boolean => {
    assert.match(error.message, text)
    return error.code === code
  }

test('pop3: a message’s bytes come as they are, in whatever pieces', async (t) => {
  const message = Buffer.from('Subject: x\r\n\r\n.\xe4\xf6\r\n..\r\n\r\n.a\r\nlone\nfeed and\rreturn\r\n\x00\xff\r\n', 'latin1')
  const stuffed = message.toString('latin1').replace(/(^|\r\n)\./g, '$1..')
  const answers = {
    RETR: Buffer.from(`+OK 1 octets\r\n${stuffed}.\r\n`, 'latin1'),
    UIDL: '+OK\r\n1 a!~\r\n2 b\r\n.\r\n',
    LIST: '+OK 1 77\r\n',
  }
  const byByte = (socket: Socket, bytes: Buffer): void => {
    for (const byte of bytes) socket.write(Buffer.of(byte))
  }
  for (const write of [undefined, byByte]) {
    const { port, heard } = await fake(t, answers, write)
    const client = await open(t, port)
    assert.deepEqual([...(await client.uidl(scope()))], [[1, 'a!~'], [2, 'b']]) // biome-ignore format: short
    assert.equal(await client.size(1, scope()), 77)
    assert.deepEqual(await client.retr(1, 1_000, scope()), message)
    await client.dele(1, scope())
    await client.quit(scope())
    assert.deepEqual(heard, ['USER ann', 'PASS pw', 'UIDL', 'LIST 1', 'RETR 1', 'DELE 1', 'QUIT'])
  }
})

test('pop3: a message that outgrows its limit ends the session, whatever its size was said to be', async (t) => {
  const endless = (socket: Socket, bytes: Buffer): void => {
    socket.write(bytes)
    if (bytes.includes('endless')) for (let n = 0; n < 2_000; n++) socket.write('x'.repeat(1_000))
  }
  for (const line of ['endless\r\n', 'endless']) {
    const { port } = await fake(t, { RETR: `+OK\r\n${line}` }, endless)
    const client = await open(t, port)
    await assert.rejects(client.retr(1, 100_000, scope()), unavailable(/larger|no end/, 'PAYLOAD_TOO_LARGE'))
    await assert.rejects(client.quit(scope()), unavailable(/the session has ended/))
  }
})

test('pop3: a message that outgrows its limit is set aside, the others of its session wait for the next one, without an attempt', async (t) => {
  const { port } = await fake(t, {
    UIDL: '+OK\r\n1 liar\r\n2 b\r\n3 c\r\n.\r\n',
    LIST: '+OK 1 77\r\n',
    RETR: `+OK\r\n${'x'.repeat(2_000)}\r\n.\r\n`,
  })
  const server = { ports: { ...dovecot.ports, pop3: port }, create: () => {} } as unknown as DovecotServer // no more of it is used
  const mailbox = openMailbox(t, server, 'pop3')
  const { done } = await mailbox.start({ maxMessageBytes: 1_000 })
  await assert.rejects(within('it has ended', done), unavailable(/the session has ended/))
  const marks = Object.entries(mailbox.book()).map(([name, mark]) => [name, 'attempts' in mark ? mark.attempts : mark.is])
  assert.deepEqual(marks, [['liar', 'aside'], ['b', 0], ['c', 0]]) // biome-ignore format: short
})

test('pop3: what was smuggled in before TLS is not believed', async (t) => {
  const { port, heard } = await fake(t, { CAPA: '+OK\r\nSTLS\r\n.\r\n', STLS: '+OK begin\r\n+OK injected\r\n' })
  await assert.rejects(Pop3Client.open(options(port, { encryption: 'starttls' }), 'orders', scope()), unavailable(/nobody asked/))
  assert.deepEqual(heard, ['CAPA', 'STLS'])
})

test('pop3: rubbish, silence, half an answer and a sudden end are told, and hold nobody', async (t) => {
  const opened = async (answers: Record<string, string>, ms?: number): Promise<Pop3Client> =>
    Pop3Client.open(options((await fake(t, answers)).port), 'orders', scope(ms))
  await assert.rejects(opened({ greeting: 'HTTP/1.1 400 Bad Request\r\n' }), unavailable(/does not speak POP3/))
  await assert.rejects(opened({ greeting: '' }, 100), unavailable(/does not answer/))
  await assert.rejects(opened({ PASS: '+OK half' }, 100), unavailable(/does not answer/))
  await assert.rejects(opened({ greeting: '-ERR [SYS/TEMP] later\r\n' }), unavailable(/refused/))
  await assert.rejects(opened({ PASS: '-ERR [IN-USE] locked\r\n' }), unavailable(/refused a command/))
  await assert.rejects(opened({ PASS: '-ERR [AUTH] no\r\n' }), unavailable(/user and password/, 'UNAUTHENTICATED'))
  await assert.rejects(Pop3Client.open(options(1), 'orders', scope()), unavailable(/ECONNREFUSED/))
  const cut = await fake(t, { RETR: '+OK\r\nhalf' }, (socket, bytes) =>
    bytes.includes('half') ? void socket.end(bytes) : void socket.write(bytes),
  )
  await assert.rejects((await open(t, cut.port)).retr(1, 1_000, scope()), unavailable(/lost/))
})

test('pop3: a deletion counts once the server has answered to the end', async (t) => {
  const mailbox = openMailbox(t, dovecot, 'pop3')
  mailbox.deliver('kept')
  const client = await Pop3Client.open(options(dovecot.ports.pop3, { user: mailbox.user, password: PASSWORD }), 'orders', scope())
  await client.dele(1, scope())
  client.destroy()
  const listener = await mailbox.start()
  await eventually('it is handled', () => mailbox.left().length === 0)
  await within('it has stopped', listener.stop())
  assert.equal(mailbox.calls.length, 1)
})

test('pop3: Python’s client sees the same mailbox', async (t) => {
  const mailbox = openMailbox(t, dovecot, 'pop3', () => Promise.reject(new Error('bad')))
  for (const subject of ['one', 'two']) mailbox.deliver(subject, '.dot\r\n\xe4')
  const python = `import poplib
box = poplib.POP3('127.0.0.1', ${dovecot.ports.pop3})
box.user('${mailbox.user}'); box.pass_('${PASSWORD}')
print([line.split()[1].decode() for line in box.uidl()[1]], b'\\r\\n'.join(box.retr(1)[1]).hex(), len(box.capa()) > 2)
box.quit()`
  const { stdout } = await run('python3', ['-c', python])
  const client = await Pop3Client.open(options(dovecot.ports.pop3, { user: mailbox.user, password: PASSWORD }), 'orders', scope())
  const ids = [...(await client.uidl(scope())).values()]
  const bytes = await client.retr(1, 10_000, scope())
  assert.ok((await client.capabilities(scope())).includes('UIDL'))
  await client.quit(scope())
  assert.equal(stdout.trim(), `['${ids.join("', '")}'] ${bytes.subarray(0, -2).toString('hex')} True`)
  await mailbox.start({ attempts: 2 })
  await eventually('both are set aside', () => told(mailbox, /set aside/).length === 2)
  const aside = (): string[] => Object.entries(mailbox.book()).flatMap(([name, { is }]) => (is === 'aside' ? [name] : []))
  await eventually('it is written down', () => aside().sort().join() === ids.sort().join())
  assert.equal((await run('python3', ['-c', python])).stdout, stdout, 'they are where they were')
})
