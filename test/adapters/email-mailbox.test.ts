/** A mailbox as an interface, over IMAP and POP3: docs/adapters/email.md. */
import assert from 'node:assert/strict'
import { before, type TestContext, test } from 'node:test'
import { CageError } from '../../src/errors.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { type DovecotServer, startDovecot } from '../support/dovecot.ts'
import { type Called, type MailboxBench, openMailbox, subjects, told } from '../support/mailbox.ts'

let server: DovecotServer

before(async () => {
  server = await startDovecot(suite)
})

const failed = (code: string): Promise<never> => Promise.reject(new CageError(code, 'because'))

for (const protocol of ['imap', 'pop3'] as const) {
  const it = (
    behaviour: string,
    run: (t: TestContext, made: (answer?: (called: Called) => Promise<unknown>) => MailboxBench) => Promise<void>,
  ): void => {
    test(`${protocol}: ${behaviour}`, async (t) => await run(t, (answer) => openMailbox(t, server, protocol, answer)))
  }

  it('a message is a call with all that is in it, and leaves the mailbox after that', async (_t, made) => {
    let leftDuringCall: string[] = []
    const mailbox = made(async () => {
      leftDuringCall = mailbox.left()
    })
    const parts = [
      '--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n.dot ',
      Buffer.from([0xe4, 0xf6, 0xfc]),
      '\r\n..two\r\n--b\r\nContent-Type: application/x-y; name="=?utf-8?Q?d=C3=A4t?="\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC/w==\r\n--b--\r\n',
    ]
    const more =
      'Cc: b@x.test, "C, D" <c@x.test>\r\nReply-To: r@x.test\r\nX-Twice: 1\r\nX-Twice: 2\r\n  folded\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nReferences: <a@x> <b@x>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n'
    mailbox.deliver('first', Buffer.concat(parts.map((part) => Buffer.from(part))), more)
    const { address } = await mailbox.start()
    assert.match(address, new RegExp(`^${protocol}://127\\.0\\.0\\.1:\\d+`))
    await eventually('it is gone', () => mailbox.calls.length === 1 && mailbox.left().length === 0)
    assert.deepEqual(leftDuringCall, ['first'])
    const [{ target, letter, options } = assert.fail()] = mailbox.calls
    const { headers, attachments, size, ...rest } = letter
    assert.equal(target, 'orders.mailed')
    assert.equal(options.protocol, 'email')
    assert.equal(options.parameters?.attempt, 1)
    assert.deepEqual(rest, {
      from: [{ name: 'Ann', address: 'ann@x.test' }],
      to: [{ name: '', address: 'shop@x.test' }],
      cc: [
        { name: '', address: 'b@x.test' },
        { name: 'C, D', address: 'c@x.test' },
      ],
      replyTo: [{ name: '', address: 'r@x.test' }],
      subject: 'first',
      date: new Date(0),
      messageId: '<first@x.test>',
      inReplyTo: undefined,
      references: ['<a@x>', '<b@x>'],
      text: '.dot äöü\n..two',
      html: undefined,
    })
    assert.deepEqual(headers['x-twice'], ['1', '2  folded'])
    assert.deepEqual(
      attachments.map(({ filename, contentType, content, cid, inline }) => [
        filename,
        contentType,
        Buffer.from(content).toString('hex'),
        cid,
        inline,
      ]),
      [['dät', 'application/x-y', '000102ff', undefined, false]],
    )
    assert.ok(size > 400)
  })

  it('what arrives later is called too, and each once', async (_t, made) => {
    const mailbox = made()
    await mailbox.start()
    for (let n = 0; n < 12; n++) {
      mailbox.deliver(`m${n}`)
      if (n % 4 === 3) await eventually('they are gone', () => mailbox.calls.length > n && mailbox.left().length === 0)
    }
    assert.deepEqual(subjects(mailbox).sort(), Array.from({ length: 12 }, (_, n) => `m${n}`).sort())
  })

  it('a message that fails is tried again, set aside after so many attempts and told, and blocks nobody', async (_t, made) => {
    const mailbox = made(async ({ letter }) => (letter.subject === 'bad' ? failed('INTERNAL') : undefined))
    mailbox.deliver('bad')
    mailbox.deliver('good')
    await mailbox.start({ attempts: 3, concurrency: 1 })
    await eventually('it is set aside', () => told(mailbox, /set aside/).length === 1)
    mailbox.deliver('later')
    await eventually('only it is left', () => mailbox.calls.length === 5 && mailbox.left().join() === 'bad')
    assert.deepEqual(subjects(mailbox).filter((subject) => subject === 'bad').length, 3)
    assert.deepEqual(mailbox.calls.filter(({ letter }) => letter.subject === 'bad').map(({ options }) => options.parameters?.attempt), [1, 2, 3]) // biome-ignore format: short
    assert.equal(told(mailbox, /trying again/).length, 2)
    assert.equal(told(mailbox, /set aside/)[0]?.level, 'error')
  })

  it('a failure that no repetition mends sets the message aside at once', async (_t, made) => {
    const mailbox = made(() => failed('INVALID_ARGUMENT'))
    mailbox.deliver('bad')
    const listener = await mailbox.start()
    await eventually('it is set aside', () => told(mailbox, /set aside/).length === 1)
    await listener.stop()
    await mailbox.start()
    mailbox.deliver('next')
    await eventually('the next one is', () => told(mailbox, /set aside/).length === 2)
    assert.deepEqual(subjects(mailbox), ['bad', 'next'])
  })

  it('that nobody can be reached is no attempt', async (_t, made) => {
    const mailbox = made(async () =>
      mailbox.calls.length < 6 ? failed(mailbox.calls.length % 2 ? 'UNAVAILABLE' : 'OVERLOADED') : undefined,
    )
    mailbox.deliver('patient')
    await mailbox.start({ attempts: 1 })
    await eventually('it is handled', () => mailbox.calls.length === 6 && mailbox.left().length === 0)
    assert.equal(told(mailbox, /set aside/).length, 0)
  })

  it('with a queue it leaves the mailbox once the queue has it, under a name of its own', async (_t, made) => {
    const mailbox = made()
    mailbox.deliver('one')
    mailbox.deliver('one', 'another text')
    mailbox.deliver('x'.repeat(80))
    await mailbox.start({ queue: 'retry' })
    await eventually('all are gone', () => mailbox.left().length === 0)
    assert.deepEqual(mailbox.calls.map(({ queue, target }) => [queue, target]), Array(3).fill(['retry', 'orders.mailed'])) // biome-ignore format: short
    const ids = mailbox.calls.map(({ options }) => options.id).sort()
    assert.equal(new Set(ids).size, 3)
    assert.match(ids.join(' '), /^mail\/[\da-f]{24} one@x\.test\/[\da-f]{24} one@x\.test\/[\da-f]{24}$/)
  })

  it('a message that is too large, or that cannot be read, is set aside and told', async (_t, made) => {
    const mailbox = made()
    mailbox.deliver('large', 'x'.repeat(70).concat('\r\n').repeat(1_000))
    mailbox.deliver('head', 'no', `X-Large: ${'y'.repeat(1_100_000)}\r\n`)
    mailbox.deliver('small')
    await mailbox.start({ maxMessageBytes: 50_000 })
    await eventually('the small one is handled', () => mailbox.calls.length === 1 && mailbox.left().sort().join() === 'head,large')
    assert.deepEqual(subjects(mailbox), ['small'])
    await eventually('both are told', () => told(mailbox, /set aside/).length === 2)
    const other = made()
    other.deliver('head', 'no', `X-Large: ${'y'.repeat(1_100_000)}\r\n`)
    await other.start()
    await eventually('it is told', () => told(other, /set aside/).length === 1)
    assert.match(String(told(other, /set aside/)[0]?.fields.err), /cannot be read/)
  })

  it('no more are handled at once than are allowed, and several copies handle each once', async (_t, made) => {
    let [running, most] = [0, 0]
    const mailbox = made(async () => {
      most = Math.max(most, ++running)
      await new Promise(setImmediate)
      running--
    })
    for (let n = 0; n < 24; n++) mailbox.deliver(`m${n}`)
    await Promise.all([mailbox.start({ concurrency: 2 }), mailbox.start({ concurrency: 2 }), mailbox.start({ concurrency: 2 })])
    await eventually('all are gone', () => mailbox.left().length === 0)
    assert.equal(mailbox.calls.length, 24)
    assert.ok(most <= 6, `${most} at once`)
  })

  it('a stop lets what runs end and disposes of it, and takes nothing new', async (_t, made) => {
    const { promise, resolve } = deferred<void>()
    const mailbox = made(() => promise)
    mailbox.deliver('running')
    const listener = await mailbox.start()
    await eventually('it runs', () => mailbox.calls.length === 1)
    const stopped = Promise.all([listener.stop(), listener.stop()])
    mailbox.deliver('late')
    resolve()
    await within('it has stopped', stopped)
    await within('its end is told', listener.done)
    assert.deepEqual([subjects(mailbox), mailbox.left()], [['running'], ['late']])
    await mailbox.start()
    await eventually('it is handled now', () => mailbox.left().length === 0)
  })

  it('a server that is lost during a call ends the interface; what was done is not done again', async (t, made) => {
    const { promise, resolve } = deferred<void>()
    const mailbox = made(() => promise)
    mailbox.deliver('once')
    const listener = await mailbox.start()
    const died = assert.rejects(listener.done, (error: CageError) => error.code === 'UNAVAILABLE')
    await eventually('it runs', () => mailbox.calls.length === 1)
    await server.kill()
    atEnd(t, () => server.start())
    await assert.rejects(mailbox.start(), (error: CageError) => error.code === 'UNAVAILABLE')
    resolve()
    await within('it has died', died)
    await server.start()
    await mailbox.start()
    await eventually('it is gone', () => mailbox.left().length === 0)
    assert.equal(mailbox.calls.length, 1)
  })

  it('a server that does not answer is lost, and holds nobody', async (t, made) => {
    const mailbox = made()
    const listener = await mailbox.start({ answerMs: 300 })
    const died = assert.rejects(listener.done, (error: CageError) => error.code === 'UNAVAILABLE' && /does not answer/.test(error.message))
    server.freeze()
    atEnd(t, () => server.thaw())
    await within('it has died', died)
    await assert.rejects(mailbox.start({ answerMs: 200 }), (error: CageError) => error.code === 'UNAVAILABLE')
    server.thaw()
    mailbox.deliver('back')
    await mailbox.start()
    await eventually('it is handled', () => mailbox.left().length === 0)
  })

  it('a message whose readers die is set aside in the end, and a claim that ran out is another’s', async (_t, made) => {
    const mailbox = made(async () => {})
    mailbox.deliver('first')
    const listener = await mailbox.start()
    await eventually('it is handled', () => mailbox.left().length === 0)
    const [name = ''] = Object.keys(mailbox.book())
    await listener.stop()
    const nameOf = (n: number): string => name.replace(/\d+$/, (last) => (protocol === 'imap' ? String(Number(last) + n) : last))
    if (protocol === 'pop3') return // its names cannot be guessed
    mailbox.remember(nameOf(1), { is: 'claimed', attempts: 3, by: 'a copy that died', until: Date.now() })
    mailbox.remember(nameOf(2), { is: 'claimed', attempts: 1, by: 'a copy that died', until: Date.now() })
    mailbox.remember(nameOf(3), { is: 'claimed', attempts: 1, by: 'a copy that lives', until: Date.now() + 60_000 })
    for (const subject of ['deadly', 'again', 'claimed']) mailbox.deliver(subject)
    await mailbox.start({ attempts: 3 })
    await eventually('one is set aside', () => told(mailbox, /its last attempt ended/).length === 1)
    await eventually('one is handled', () => mailbox.left().sort().join() === 'claimed,deadly')
    assert.deepEqual(subjects(mailbox), ['first', 'again'])
    assert.equal(mailbox.calls[1]?.options.parameters?.attempt, 2)
  })

  it('a wrong password is told as that', async (_t, made) => {
    await assert.rejects(made().start({ password: 'wrong' }), (error: CageError) => error.code === 'UNAUTHENTICATED' && error.retryable)
  })
}
