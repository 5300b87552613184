/** SMTP as a resource: docs/adapters/email.md. */
import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, type KeyObject, verify } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { simpleParser } from 'mailparser'
import type { Resource, ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { Mail, Sent } from '../../src/adapters/email/api.ts'
import { emailOptions } from '../../src/adapters/email/options.ts'
import { open } from '../../src/adapters/email/resource.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { project } from '../support/node.ts'
import { type Postfix, type SmtpServer, startPostfix, startSmtp, type Taken } from '../support/smtp.ts'

let tls: CertificateFiles
let server: SmtpServer
let plain: SmtpServer
let postfix: Postfix

before(async () => {
  tls = await certificates(suite, [{ type: 7, ip: '127.0.0.1' }])
  ;[server, plain, postfix] = await Promise.all([startSmtp(suite, { tls, size: 100_000 }), startSmtp(suite), startPostfix(suite, tls)])
})

const scope = (ms = 10_000, signal = new AbortController().signal): Scope => ({ deadline: Date.now() + ms, signal })
const secure = (): object => ({
  host: '127.0.0.1',
  port: server.port,
  encryption: 'starttls',
  tls: { caFile: tls.ca },
  from: 'Shop <shop@x.test>',
})
const clear = (): object => ({ host: '127.0.0.1', port: plain.port, from: 'shop@x.test' })

async function resource(given: object): Promise<Resource> {
  return await open(emailOptions.parse(given), { cage: 'shop', name: 'mail', log: recordingLog().log })
}

async function connect(t: TestContext, given: object, from?: Resource): Promise<ResourceConnection> {
  const connection = await (from ?? (await resource(given))).connect(scope())
  atEnd(t, () => connection.close())
  return connection
}

const send = async (connection: ResourceConnection, mail: Mail): Promise<Sent> => (await connection.call('send', [mail], scope())) as Sent
const refused =
  (code: string, more: (error: CageError) => boolean = () => true) =>
  (error: CageError): boolean => {
    assert.equal(error.code, code, error.message)
    return more(error)
  }
const taken = async (to: string, from: SmtpServer = server): Promise<Taken[]> =>
  (await from.stats()).messages.filter((message) => message.to.includes(to))
const parsed = async ({ raw }: Taken): ReturnType<typeof simpleParser> => simpleParser(Buffer.from(raw, 'latin1'))

/** A server that speaks so; how it is reached. */
async function fake(t: TestContext, speak: (socket: Socket) => void): Promise<object> {
  const listening = createServer((socket) => {
    socket.on('error', () => {})
    speak(socket)
  }).listen(0, '127.0.0.1')
  await once(listening, 'listening')
  atEnd(t, () => void listening.close())
  return { ...clear(), port: (listening.address() as { port: number }).port }
}

test('smtp: text, HTML, an embedded image, attachments and names of any letters arrive as they were sent', async (t) => {
  const connection = await connect(t, { ...secure(), user: 'app', password: 'pw' })
  const sent = await send(connection, {
    from: { name: 'Bücher "am" Eck', address: 'shop@x.test' },
    to: ['Änne <aenne@x.test>', { address: 'bob@x.test' }],
    cc: 'carol@x.test',
    bcc: 'dave@x.test',
    subject: 'Grüße 🎉',
    text: 'plain é\n.dot\n..two dots\n',
    html: '<b>hi</b><img src="cid:logo">',
    attachments: [
      { filename: 'dätä.bin', content: Buffer.from([0, 1, 2, 255]) },
      { filename: 'logo.png', content: new Uint8Array([137, 80]), cid: 'logo' },
    ],
    alternatives: [{ contentType: 'text/calendar; method=REQUEST', content: 'BEGIN:VCALENDAR' }],
    headers: { 'X-Order': '17' },
    inReplyTo: '<a@x.test>',
    references: ['<a@x.test>'],
    date: new Date(0),
  })
  assert.match(sent.messageId, /^<[\w-]+@x\.test>$/)
  assert.equal(sent.response, '250 queued')
  assert.deepEqual(
    sent.recipients,
    ['aenne', 'bob', 'carol', 'dave'].map((name) => ({ address: `${name}@x.test`, accepted: true })),
  )
  const [message] = await taken('aenne@x.test')
  assert.ok(message)
  assert.deepEqual(
    [message.from, message.to, message.tls, message.user],
    ['shop@x.test', sent.recipients.map(({ address }) => address), true, 'app'],
  )
  const mail = await parsed(message)
  assert.deepEqual(
    [mail.subject, mail.text, mail.messageId, mail.inReplyTo],
    ['Grüße 🎉', 'plain é\n.dot\n..two dots\n', sent.messageId, '<a@x.test>'],
  )
  assert.match(String(mail.html), /<b>hi<\/b>/)
  assert.equal(mail.from?.value[0]?.name, 'Bücher "am" Eck')
  assert.equal(mail.headers.get('x-order'), '17')
  assert.equal(mail.headers.get('bcc'), undefined)
  assert.equal(mail.date?.getTime(), 0)
  assert.deepEqual(
    mail.attachments.map(({ filename, content, related, contentType }) => [
      filename,
      content.toString('hex'),
      related ?? false,
      contentType,
    ]),
    [
      ['logo.png', '8950', true, 'image/png'],
      [undefined, Buffer.from('BEGIN:VCALENDAR').toString('hex'), false, 'text/calendar'],
      ['dätä.bin', '000102ff', false, 'application/octet-stream'],
    ],
  )
})

test('smtp: each recipient has an outcome of its own, and the others get the message', async (t) => {
  const connection = await connect(t, secure())
  const { recipients } = await send(connection, { to: ['nobody@x.test', 'erin@x.test', 'later@x.test'], text: 'hi' })
  assert.deepEqual(recipients, [
    { address: 'nobody@x.test', accepted: false, status: 550, temporary: false, response: '550 5.1.1 no such user' },
    { address: 'erin@x.test', accepted: true },
    { address: 'later@x.test', accepted: false, status: 451, temporary: true, response: '451 4.7.1 try later' },
  ])
  assert.deepEqual((await taken('erin@x.test'))[0]?.to, ['erin@x.test'])
})

test('smtp: with everyRecipient nobody gets what one cannot, and the connection serves on', async (t) => {
  const connection = await connect(t, secure())
  await assert.rejects(send(connection, { to: ['frank@x.test', 'nobody@x.test'], text: 'hi', everyRecipient: true }), refused('NOT_FOUND'))
  assert.equal(connection.broken, false)
  await send(connection, { to: 'frank2@x.test', text: 'hi', everyRecipient: true })
  assert.deepEqual(await taken('frank@x.test'), [])
  assert.equal((await taken('frank2@x.test')).length, 1)
})

test('smtp: what the server refuses has its code, tells the status, and costs no connection', async (t) => {
  const connection = await connect(t, secure())
  const details = (error: CageError): { status?: number; enhanced?: string; recipients?: unknown[] } => error.details as object
  await assert.rejects(
    send(connection, { to: 'nobody@x.test', text: '' }),
    refused(
      'NOT_FOUND',
      (error) => details(error).enhanced === '5.1.1' && details(error).recipients?.length === 1 && !/nobody/.test(error.message),
    ),
  )
  await assert.rejects(
    send(connection, { to: 'later@x.test', text: '' }),
    refused('UNAVAILABLE', (error) => error.retryable && details(error).status === 451),
  )
  await assert.rejects(
    send(connection, { to: 'spam@x.test', text: '' }),
    refused('FORBIDDEN', (error) => !error.retryable && details(error).status === 554),
  )
  await assert.rejects(send(connection, { to: 'a@x.test', text: 'x'.repeat(200_000) }), refused('PAYLOAD_TOO_LARGE'))
  assert.equal(connection.broken, false)
  await send(connection, { to: 'gina@x.test', text: 'after all that' })
  assert.equal((await taken('gina@x.test')).length, 1)
})

test('smtp: a message that is refused is told as that, although a recipient was refused before', async (t) => {
  const answers: Record<string, string> = { 'RCPT TO:<nobody@x.test>': '550 5.1.1 no such user', DATA: '451 4.7.1 greylisted' }
  const grey = await fake(t, (socket) => {
    socket.write('220 ready\r\n')
    socket.on('data', (lines) => {
      for (const line of String(lines).trim().split('\r\n')) socket.write(`${answers[line] ?? '250 ok'}\r\n`)
    })
  })
  const connection = await connect(t, grey)
  await assert.rejects(
    send(connection, { to: ['nobody@x.test', 'ann@x.test'], text: '' }),
    refused('UNAVAILABLE', (error) => error.retryable && /the message was refused/.test(error.message)),
  )
  await assert.rejects(send(connection, { to: 'nobody@x.test', text: '' }), refused('NOT_FOUND'))
})

test('smtp: a message that cannot be one is the caller’s mistake, and reads no files', async (t) => {
  const connection = await connect(t, clear())
  const wrong: [unknown, RegExp][] = [
    [undefined, /send takes a message/],
    [{ to: 'a@x.test', subjekt: 'x' }, /no subjekt, did you mean subject/],
    [{ to: 'a@x.test', text: { path: '/etc/passwd' } }, /text of the message/],
    [{ to: 'a@x.test', attachments: [{ path: '/etc/passwd' }] }, /attachments of the message/],
    [{ to: 'a@x.test', attachments: [{ content: 'x', path: '/etc/passwd' }] }, /attachments of the message/],
    [{ to: 'a@x.test\r\nRCPT TO:<b@x.test>', text: '' }, /to of the message/],
    [{ text: 'to nobody' }, /no recipient/],
    [{ to: 'a@x.test', headers: { 'X: y\r\nBcc': 'b@x.test' } }, /headers of the message/],
    [{ to: 'a@x.test', messageId: 'no' }, /messageId of the message/],
  ]
  for (const [mail, message] of wrong)
    await assert.rejects(
      connection.call('send', [mail], scope()),
      refused('INVALID_ARGUMENT', (error) => message.test(error.message)),
    )
  await assert.rejects(
    connection.call('sent', [{}], scope()),
    refused('INVALID_ARGUMENT', (error) => /did you mean send/.test(error.message)),
  )
  await send(connection, { to: 'hugo@x.test', subject: 'a\r\nBcc: evil@x.test', headers: { 'X-A': 'b\r\nX-Evil: c' }, text: '' })
  const [message] = await taken('hugo@x.test', plain)
  assert.ok(message)
  assert.doesNotMatch(message.raw, /^(Bcc|X-Evil):/im)
  const none = await connect(t, { host: '127.0.0.1', port: plain.port })
  await assert.rejects(
    send(none, { to: 'a@x.test', text: '' }),
    refused('INVALID_ARGUMENT', (error) => /names no sender/.test(error.message)),
  )
  const small = await connect(t, { ...clear(), maxMessageBytes: 1_000 })
  await assert.rejects(send(small, { to: 'a@x.test', text: 'x'.repeat(1_000) }), refused('PAYLOAD_TOO_LARGE'))
})

test('smtp: the same id is the same Message-ID, another resource’s is another', async (t) => {
  const connection = await connect(t, clear())
  const mail = { to: 'ida@x.test', text: '' }
  const [first, again, other, none] = [
    await send(connection, { ...mail, id: 'order 17' }),
    await send(connection, { ...mail, id: 'order 17', text: 'tried again' }),
    await send(connection, { ...mail, id: 'order 18' }),
    await send(connection, mail),
  ]
  assert.equal(first.messageId, again.messageId)
  assert.equal(new Set([first.messageId, other.messageId, none.messageId]).size, 3)
  const elsewhere = await open(emailOptions.parse(clear()), { cage: 'blog', name: 'mail', log: recordingLog().log })
  assert.notEqual((await send(await connect(t, {}, elsewhere), { ...mail, id: 'order 17' })).messageId, first.messageId)
  assert.equal((await send(connection, { ...mail, messageId: '<own@x.test>' })).messageId, '<own@x.test>')
  const raw = (await taken('ida@x.test', plain)).map((message) => /^Message-ID: (.*?)\r$/m.exec(message.raw)?.[1])
  assert.equal(raw[0], first.messageId)
})

test('smtp: an envelope of its own is who gets it', async (t) => {
  const connection = await connect(t, clear())
  await send(connection, { to: 'list@x.test', text: '', envelope: { from: '', to: ['jane@x.test'] } })
  const [message] = await taken('jane@x.test', plain)
  assert.deepEqual([message?.from, message?.to], ['', ['jane@x.test']])
  const spaced = { from: ' shop@x.test', to: [' nobody@x.test ', 'june@x.test '] }
  const { recipients } = await send(connection, { text: '', envelope: spaced })
  assert.deepEqual(recipients.map(({ address, accepted }) => [address, accepted]), [['nobody@x.test', false], ['june@x.test', true]]) // biome-ignore format: short
})

test('smtp: a signature is of the key, the domain and the message (DKIM)', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const { dir } = project(t, {})
  const keyFile = join(dir, 'dkim.pem')
  writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const dkim = { domain: 'x.test', selector: 'mail', keyFile }
  const connection = await connect(t, { ...clear(), dkim })
  await send(connection, { to: 'kim@x.test', subject: 'signed', text: 'really  signed \n\n\n' })
  const [message] = await taken('kim@x.test', plain)
  assert.ok(message)
  assert.ok(dkimHolds(message.raw, publicKey))
  assert.ok(!dkimHolds(message.raw.replace('really', 'hardly'), publicKey))
  assert.ok(!dkimHolds(message.raw.replace('Subject: signed', 'Subject: forged'), publicKey))
  writeFileSync(keyFile, 'no key')
  await assert.rejects(
    send(connection, { to: 'kim@x.test', text: '' }),
    refused('UNAVAILABLE', (error) => /DKIM/.test(error.message)),
  )
})

test('smtp: TLS is wanted of every machine but this one, and never given up', async (t) => {
  assert.deepEqual(
    [{}, { port: 465 }, { host: 'localhost' }, { host: 'localhost', port: 465 }, { encryption: 'none' }].map((more) => {
      const { port, encryption } = emailOptions.parse({ host: 'mail.x.test', ...more })
      return [port, encryption]
    }),
    [[587, 'starttls'], [465, 'tls'], [25, 'none'], [465, 'tls'], [25, 'none']], // biome-ignore format: a table
  )
  const says = (text: RegExp) => refused('UNAVAILABLE', (error) => text.test(error.message))
  await assert.rejects(connect(t, { ...secure(), tls: {} }), says(/not trusted/))
  await assert.rejects(connect(t, { ...secure(), tls: { caFile: tls.ca, serverName: 'other.test' } }), says(/not trusted/))
  await assert.rejects(connect(t, { ...clear(), encryption: 'starttls' }), says(/does not encrypt/))
  await assert.rejects(connect(t, { ...clear(), encryption: 'tls' }), says(/connection was lost|encrypt/))
  await assert.rejects(connect(t, { ...secure(), tls: { caFile: '/nowhere' } }), says(/cannot be read/))
  const expired = await certificates(t, [{ type: 7, ip: '127.0.0.1' }], 'expired', new Date(Date.now() - 1_000))
  const old = await startSmtp(t, { tls: expired, secure: true })
  const there = { host: '127.0.0.1', port: old.port, encryption: 'tls', from: 'shop@x.test' }
  await assert.rejects(connect(t, { ...there, tls: { caFile: expired.ca } }), says(/not trusted/))
  const unchecked = await connect(t, { ...there, tls: { verify: false } })
  await send(unchecked, { to: 'leo@x.test', text: '' })
  assert.equal((await taken('leo@x.test', old))[0]?.tls, true)
})

test('smtp: in a transaction the message is with the server but for its dot, which is the commit', async (t) => {
  const connection = await connect(t, clear())
  await connection.begin?.({ id: 'tx/1', options: {} }, scope())
  const { recipients, response, messageId } = await send(connection, {
    to: ['nobody@x.test', 'mia@x.test'],
    text: `${'x'.repeat(70)}\n`.repeat(3_000),
  })
  assert.deepEqual(recipients.map(({ accepted }) => accepted), [false, true]) // biome-ignore format: short
  assert.equal(response, undefined)
  await eventually('the server has the body', () => plain.arrived() > 200_000)
  assert.deepEqual(await taken('mia@x.test', plain), [])
  await connection.commit?.(scope())
  const [message] = await taken('mia@x.test', plain)
  assert.match(message?.raw ?? '', new RegExp(`^Message-ID: ${messageId}`, 'm'))
  await send(connection, { to: 'mia2@x.test', text: 'and on' })
  assert.equal((await taken('mia2@x.test', plain)).length, 1)
})

test('smtp: the branch of a transaction has one Message-ID, and takes one message', async (t) => {
  const connection = await connect(t, clear())
  const begun = async (): Promise<string> => {
    await connection.begin?.({ id: 'tx/2', options: {} }, scope())
    return (await send(connection, { to: 'ned@x.test', text: '' })).messageId
  }
  const first = await begun()
  await assert.rejects(send(connection, { to: 'ned@x.test', text: '' }), refused('INVALID_ARGUMENT'))
  await connection.rollback?.(scope())
  assert.equal(await begun(), first)
  await connection.rollback?.(scope())
  await assert.rejects(
    connection.begin?.({ id: 'tx/3', options: { isolation: 'serializable' } }, scope()) ?? Promise.resolve(),
    refused('INVALID_ARGUMENT'),
  )
})

test('smtp: a rolled back message is not sent, its connection is lost on purpose and serves on', async (t) => {
  const connection = await connect(t, clear())
  for (let n = 0; n < 5; n++) {
    await connection.begin?.({ id: `tx/4/${n}`, options: {} }, scope())
    await send(connection, { to: 'olga@x.test', text: 'never' })
    await connection.rollback?.(scope())
    assert.equal(connection.broken, false)
  }
  await send(connection, { to: 'olga2@x.test', text: 'sent' })
  assert.deepEqual([await taken('olga@x.test', plain), (await taken('olga2@x.test', plain)).length], [[], 1])
})

test('smtp: a commit that the server refuses has not happened, and is told as refused', async (t) => {
  const connection = await connect(t, clear())
  await connection.begin?.({ id: 'tx/5', options: {} }, scope())
  await send(connection, { to: 'spam@x.test', text: '' })
  await assert.rejects(connection.commit?.(scope()) ?? Promise.resolve(), refused('FORBIDDEN'))
  assert.equal(connection.broken, false)
})

test('smtp: a server that is lost before the dot has not sent, one that is lost after it nobody knows', async (t) => {
  const own = await startSmtp(t)
  const mail = await resource({ ...clear(), port: own.port })
  const connection = await connect(t, {}, mail)
  await connection.begin?.({ id: 'tx/6', options: {} }, scope())
  await send(connection, { to: 'paul@x.test', text: '' })
  const early = await connection.identity?.(scope())
  await own.kill()
  await eventually('the loss is seen', () => connection.broken)
  await own.start()
  const another = await connect(t, {}, mail)
  assert.equal(await another.outcome?.(early, scope()), 'rolled back')
  assert.equal(await (await connect(t, { ...clear(), port: own.port })).outcome?.(early, scope()), 'unknown', 'another process cannot tell')
  await another.begin?.({ id: 'tx/7', options: {} }, scope())
  await send(another, { to: 'lost@x.test', text: '' })
  const late = await another.identity?.(scope())
  await assert.rejects(another.commit?.(scope()) ?? Promise.resolve(), refused('UNAVAILABLE'))
  assert.equal(another.broken, true)
  await own.start()
  assert.equal(await (await connect(t, {}, mail)).outcome?.(late, scope()), 'unknown')
})

test('smtp: a branch that is asked for while it is open is ended, so that the answer is final', async (t) => {
  const mail = await resource(clear())
  const [one, other] = [await connect(t, {}, mail), await connect(t, {}, mail)]
  await one.begin?.({ id: 'tx/8', options: {} }, scope())
  await send(one, { to: 'quinn@x.test', text: '' })
  assert.equal(await other.outcome?.(await one.identity?.(scope()), scope()), 'rolled back')
  await one.commit?.(scope())
  assert.deepEqual(await taken('quinn@x.test', plain), [])
})

test('smtp: rubbish, half an answer and a sudden end are told as an unreachable server', async (t) => {
  for (const speak of [
    (socket: Socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    (socket: Socket) => void socket.end('220 half'),
    (socket: Socket) => void socket.destroy(),
    (socket: Socket) => void socket.end('421 4.3.2 closing\r\n'),
  ])
    await assert.rejects(connect(t, await fake(t, speak)), refused('UNAVAILABLE'))
  const silent = await resource(await fake(t, () => {}))
  await assert.rejects(
    silent.connect(scope(200)),
    refused('UNAVAILABLE', (error) => /does not answer/.test(error.message)),
  )
  await assert.rejects(
    (await resource({ ...clear(), port: 1 })).connect(scope()),
    refused('UNAVAILABLE', (error) => /ECONNREFUSED/.test(error.message)),
  )
})

test('smtp: Postfix takes it by STARTTLS, and refuses by its own rules', async (t) => {
  const connection = await connect(t, { ...secure(), port: postfix.port })
  const text = 'line\n.dot\n\nend\n'
  const sent = await send(connection, {
    to: 'alice@x.test',
    cc: 'eve@y.test',
    subject: 'to Postfix',
    text,
    attachments: [{ filename: 'a.bin', content: Buffer.alloc(5_000, 7) }],
  })
  assert.match(sent.response ?? '', /^250 2\.0\.0 Ok: queued as/)
  assert.deepEqual(sent.recipients.map(({ accepted }) => accepted), [true, false]) // biome-ignore format: short
  const raw = await eventually('it is in the mailbox', () => postfix.messages('alice')[0])
  const mail = await simpleParser(Buffer.from(raw, 'latin1'))
  assert.deepEqual([mail.text, mail.attachments[0]?.size], [text, 5_000])
  await assert.rejects(send(connection, { to: 'nobody@x.test', text }), refused('NOT_FOUND'))
  await assert.rejects(send(connection, { to: 'eve@y.test', text }), refused('FORBIDDEN'))
  await assert.rejects(send(connection, { to: 'alice@x.test', text: 'x\n'.repeat(150_000) }), refused('PAYLOAD_TOO_LARGE'))
})

test('smtp: what Postfix has without its dot it does not deliver', async (t) => {
  const connection = await connect(t, { ...secure(), port: postfix.port })
  await connection.begin?.({ id: 'tx/9', options: {} }, scope())
  await send(connection, { to: 'bob@x.test', subject: 'rolled back', text: 'never' })
  await connection.rollback?.(scope())
  await eventually('Postfix has seen the end', () => /lost connection after DATA/.test(postfix.log()))
  await connection.begin?.({ id: 'tx/10', options: {} }, scope())
  await send(connection, { to: 'bob@x.test', subject: 'committed', text: 'now' })
  await connection.commit?.(scope())
  await eventually('it is delivered', () => postfix.messages('bob').length > 0)
  assert.deepEqual(postfix.messages('bob').map((raw) => /^Subject: (.*)$/m.exec(raw)?.[1]), ['committed']) // biome-ignore format: short
})

/** RFC 6376, relaxed/relaxed, by other means than the ones that have signed. */
function dkimHolds(raw: string, key: KeyObject): boolean {
  const [head = '', ...rest] = raw.split('\r\n\r\n')
  const fields = head.split(/\r\n(?![ \t])/)
  const relaxed = (field: string): string => {
    const colon = field.indexOf(':')
    return `${field.slice(0, colon).trim().toLowerCase()}:${field
      .slice(colon + 1)
      .replace(/\r\n/g, '')
      .replace(/[ \t]+/g, ' ')
      .trim()}`
  }
  const body = `${rest
    .join('\r\n\r\n')
    .replace(/[ \t]+/g, ' ')
    .replace(/ (?=\r\n)/g, '')
    .replace(/(\r\n)*$/, '')}\r\n`
  const signature = fields.find((field) => /^dkim-signature:/i.test(field)) ?? ''
  const tag = (name: string): string => new RegExp(`[;:]\\s*${name}=([^;]*)`).exec(signature)?.[1]?.replace(/\s/g, '') ?? ''
  if (createHash('sha256').update(body, 'latin1').digest('base64') !== tag('bh')) return false
  const signed = tag('h')
    .split(':')
    .flatMap((name) => fields.findLast((field) => field.toLowerCase().startsWith(`${name.toLowerCase()}:`)) ?? [])
  const own = relaxed(signature.replace(/([;\s]b=)[^;]*/, '$1'))
  return verify('sha256', Buffer.from(`${signed.map(relaxed).join('\r\n')}\r\n${own}`, 'latin1'), key, Buffer.from(tag('b'), 'base64'))
}
