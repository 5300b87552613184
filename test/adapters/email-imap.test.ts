/** What IMAP has and POP3 has not: docs/adapters/email.md. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { emailListenOptions } from '../../src/adapters/email/options.ts'
import { CageError } from '../../src/errors.ts'
import { suite } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { type DovecotServer, PASSWORD, startDovecot } from '../support/dovecot.ts'
import { openMailbox, subjects, told } from '../support/mailbox.ts'

const run = promisify(execFile)
const HOUR_MS = 3_600_000

let server: DovecotServer
let tls: CertificateFiles

before(async () => {
  tls = await certificates(suite, [{ type: 7, ip: '127.0.0.1' }])
  server = await startDovecot(suite, { tls })
})

/** Python's imaplib, as another client of the mailbox. */
async function python(user: string, lines: string): Promise<string> {
  const head = `import imaplib\nbox = imaplib.IMAP4('127.0.0.1', ${server.ports.imap})\nbox.login('${user}', '${PASSWORD}')\nbox.select('INBOX')\n`
  return (await run('python3', ['-c', head + lines])).stdout.trim()
}

/** Subjects of the messages that have a flag. */
async function having(user: string, criterion: string, ...all: string[]): Promise<string> {
  const found = (subject: string): string => `len(box.search(None, ${criterion}, 'SUBJECT', '${subject}')[1][0].split())`
  return await python(
    user,
    `print(','.join(name for name, n in [${all.map((subject) => `('${subject}', ${found(subject)})`).join(', ')}] if n))`,
  )
}

const badOnes =
  (...names: string[]) =>
  async ({ letter }: { letter: { subject: string } }): Promise<void> => {
    if (names.includes(letter.subject)) throw new CageError('INVALID_ARGUMENT', 'because')
  }

test('imap: the server tells of a new message at once', async (t) => {
  const mailbox = openMailbox(t, server, 'imap')
  await mailbox.start({ pollMs: HOUR_MS })
  for (const subject of ['one', 'two']) {
    mailbox.deliver(subject)
    await eventually('it is gone', () => mailbox.left().length === 0)
  }
  assert.deepEqual(subjects(mailbox), ['one', 'two'])
})

test('imap: without IDLE it is found by asking', async (t) => {
  const mailbox = openMailbox(t, server, 'imap')
  await mailbox.start({ idle: false, pollMs: 50 })
  mailbox.deliver('asked')
  await eventually('it is gone', () => mailbox.left().length === 0)
})

test('imap: what is done, and what is set aside, can be moved to folders, which are made', async (t) => {
  const mailbox = openMailbox(t, server, 'imap', badOnes('bad'))
  for (const subject of ['good', 'bad', 'also good']) mailbox.deliver(subject)
  await mailbox.start({ done: { folder: 'Done' }, setAside: { folder: 'Failed' } })
  await eventually('they have been moved', () => mailbox.left().length === 0)
  assert.deepEqual([mailbox.left('Done').sort(), mailbox.left('Failed')], [['also good', 'good'], ['bad']])
  const moved = "box.select('Failed')\nbox.copy('1', 'INBOX')\n"
  await python(mailbox.user, moved)
  await eventually('it is tried again', () => mailbox.calls.length === 4)
})

test('imap: what is done, and what is set aside, can be flagged; without its flag it is tried again', async (t) => {
  const bad = ['bad']
  const mailbox = openMailbox(t, server, 'imap', async (called) => await badOnes(...bad)(called))
  for (const subject of ['good', 'bad']) mailbox.deliver(subject)
  const listener = await mailbox.start({ done: { flag: '\\Seen' }, setAside: { flag: '$Failed' }, pollMs: HOUR_MS })
  await eventually('one is set aside', () => told(mailbox, /set aside/).length === 1)
  const seen = (): Promise<string> => having(mailbox.user, "'SEEN'", 'good', 'bad')
  await eventually('one is done', async () => (await seen()) === 'good')
  await eventually('the other is flagged', async () => (await having(mailbox.user, "'KEYWORD', '$Failed'", 'good', 'bad')) === 'bad')
  await eventually('it is written down', () => Object.values(mailbox.book()).every(({ is }) => is === 'gone'))
  await listener.stop()
  bad.length = 0
  await python(mailbox.user, "box.store('1:2', '-FLAGS', '$Failed')")
  for (const name of Object.keys(mailbox.book())) mailbox.remember(name, { is: 'gone', at: Date.now() - HOUR_MS })
  await mailbox.start({ done: { flag: '\\Seen' }, setAside: { flag: '$Failed' } })
  await eventually('it is done', async () => (await seen()) === 'good,bad')
  assert.deepEqual(subjects(mailbox).sort(), ['bad', 'bad', 'good'])
})

test('imap: two keywords can be told apart', async (t) => {
  const mailbox = openMailbox(t, server, 'imap', badOnes('bad'))
  for (const subject of ['good', 'bad']) mailbox.deliver(subject)
  await mailbox.start({ done: { flag: '$Done' }, setAside: { flag: '$Failed' } })
  for (const [flag, subject] of [['Done', 'good'], ['Failed', 'bad']]) // biome-ignore format: short
    await eventually('it is flagged', async () => (await having(mailbox.user, `'KEYWORD', '$${flag}'`, 'good', 'bad')) === subject)
  mailbox.deliver('another')
  await eventually('it is done', () => mailbox.calls.length === 3)
  assert.deepEqual(subjects(mailbox).sort(), ['another', 'bad', 'good'])
})

test('imap: what another client appends is handled, what it has marked as deleted is not', async (t) => {
  const mailbox = openMailbox(t, server, 'imap')
  mailbox.deliver('deleted')
  await python(mailbox.user, "box.store('1', '+FLAGS', '\\\\Deleted')")
  await mailbox.start()
  await python(mailbox.user, "box.append('INBOX', None, None, b'Subject: appended\\r\\n\\r\\n8 bit: \\xe4\\r\\n')")
  await eventually('it is handled', () => mailbox.calls.length === 1)
  assert.deepEqual(subjects(mailbox), ['appended'])
})

test('imap: a folder that is not there is told, and may come', async (t) => {
  const mailbox = openMailbox(t, server, 'imap')
  await assert.rejects(mailbox.start({ folder: 'Nowhere' }), (error: CageError) => error.code === 'NOT_FOUND' && error.retryable)
})

for (const protocol of ['imap', 'pop3'] as const) {
  const secure = (): number => server.ports[`${protocol}s`]
  const port = (): number => server.ports[protocol]

  test(`${protocol}: TLS from the first byte, and by its command, checks who the server is`, async (t) => {
    const mailbox = openMailbox(t, server, protocol)
    for (const more of [{ port: secure(), encryption: 'tls' }, { encryption: 'starttls' }]) {
      const untrusted = (given: object): Promise<void> =>
        assert.rejects(
          mailbox.start({ ...more, tls: given }),
          (error: CageError) => error.code === 'UNAVAILABLE' && /not trusted/.test(error.message),
        )
      await untrusted({})
      await untrusted({ caFile: tls.ca, serverName: 'other.test' })
      const listener = await mailbox.start({ ...more, tls: { caFile: tls.ca } })
      mailbox.deliver(more.encryption)
      await eventually('it is handled', () => mailbox.left().length === 0)
      await within('it has stopped', listener.stop())
    }
    assert.deepEqual(subjects(mailbox), ['tls', 'starttls'])
    await assert.rejects(
      mailbox.start({ port: port(), encryption: 'tls', answerMs: 1_000 }),
      (error: CageError) => error.code === 'UNAVAILABLE',
    )
  })

  test(`${protocol}: it is encrypted to every machine but this one, unless it is told otherwise`, () => {
    const who = { protocol, user: 'u', password: 'p', call: 'a.b' }
    const reached = [
      { host: 'mail.x.test' },
      { host: 'mail.x.test', port: port() },
      { host: '127.0.0.1' },
      { host: 'mail.x.test', encryption: 'starttls' },
    ].map((more) => emailListenOptions.parse({ ...who, ...more }))
    assert.deepEqual(reached.map(({ encryption }) => encryption), ['tls', 'tls', 'none', 'starttls']) // biome-ignore format: short
    const [usual, secured] = protocol === 'imap' ? [143, 993] : [110, 995]
    assert.deepEqual(reached.map((options) => options.port), [secured, port(), usual, usual]) // biome-ignore format: short
    assert.equal(emailListenOptions.parse({ ...who, host: 'mail.x.test', port: usual }).encryption, 'starttls')
  })
}

test('email: a server that cannot encrypt gets no password, by neither protocol', async (t) => {
  const clear = await startDovecot(t)
  for (const protocol of ['imap', 'pop3'] as const)
    await assert.rejects(
      openMailbox(t, clear, protocol).start({ encryption: 'starttls' }),
      (error: CageError) => error.code === 'UNAVAILABLE' && /does not encrypt/.test(error.message),
    )
  assert.doesNotMatch(clear.log(), /Login: user|Logged in|auth failed/)
})

test('email: an expired certificate is not trusted, by neither protocol', async (t) => {
  const expired = await certificates(t, [{ type: 7, ip: '127.0.0.1' }], 'expired', new Date(Date.now() - 1_000))
  const old = await startDovecot(t, { tls: expired })
  for (const protocol of ['imap', 'pop3'] as const) {
    const options = { port: old.ports[`${protocol}s`], encryption: 'tls', tls: { caFile: expired.ca } }
    await assert.rejects(openMailbox(t, old, protocol).start(options), (error: CageError) => /not trusted/.test(error.message))
  }
})

test('email: mistakes in the options are told', () => {
  const mistakes = (more: object): string[] => {
    const given = { protocol: 'imap', host: 'h', user: 'u', password: 'p', call: 'a.b', ...more }
    return emailListenOptions.safeParse(given).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? []
  }
  assert.deepEqual(mistakes({}), [])
  assert.match(mistakes({ setAside: { folder: 'INBOX' } })[0] ?? '', /would come back/)
  assert.match(mistakes({ done: { flag: '\\Seen' }, setAside: { flag: '\\seen' } })[0] ?? '', /nobody could tell/)
  assert.match(mistakes({ queue: 'retry', timeoutMs: 5 })[0] ?? '', /direct calls/)
  assert.match(mistakes({ password: 'a\r\nDELE 1' })[0] ?? '', /control character/)
  assert.match(mistakes({ protocol: 'pop3', done: 'delete' })[0] ?? '', /done/)
  assert.match(mistakes({ call: 'nothing' })[0] ?? '', /module.method/)
})
