/** The bytes of a message as plain data; email-mailbox.test.ts has a whole one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseLetter } from '../../src/adapters/email/letter.ts'
import { composeMessage } from '../../src/adapters/email/message.ts'
import { emailOptions } from '../../src/adapters/email/options.ts'

const letter = (head: string): ReturnType<typeof parseLetter> => parseLetter(Buffer.from(`Subject: x\r\n${head}\r\nhello\r\n`))

test('letter: a date is what the sender says, or nothing if that is none', async () => {
  for (const head of ['', 'Date: rubbish\r\n', 'Date:\r\n']) assert.equal((await letter(head)).date, undefined, head)
  for (const said of ['Thu, 1 Jan 1970 00:00:00 +0000', 'Thu,\r\n 1 Jan 1970 02:00:00 +0200 (EET)', '1 Jan 1970 00:00 GMT'])
    assert.deepEqual((await letter(`Date: ${said}\r\nDate: rubbish\r\n`)).date, new Date(0), said)
})

test('letter: a Message-ID has angle brackets, whether it came with them or not', async () => {
  for (const said of ['<a@x.test>', 'a@x.test']) assert.equal((await letter(`Message-ID: ${said}\r\n`)).messageId, '<a@x.test>')
})

test('letter: the trace context goes out as a header, unless the message has one of its own', async () => {
  const options = emailOptions.parse({ host: '127.0.0.1', from: 'shop@x.test' })
  const sent = async (headers: Record<string, string> = {}): Promise<string[] | undefined> => {
    const mail = { to: 'ann@x.test', text: 'hello', headers }
    const { bytes } = await composeMessage(mail, undefined, { resource: 'mail', cage: 'shop', options }, '00-a-b-01')
    return (await parseLetter(bytes)).headers.traceparent
  }
  assert.deepEqual(await sent(), ['00-a-b-01'])
  assert.deepEqual(await sent({ Traceparent: 'own' }), ['own'])
})
