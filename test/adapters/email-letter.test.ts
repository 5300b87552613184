/** The bytes of a message as plain data; email-mailbox.test.ts has a whole one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseLetter } from '../../src/adapters/email/letter.ts'

const letter = (head: string): ReturnType<typeof parseLetter> => parseLetter(Buffer.from(`Subject: x\r\n${head}\r\nhello\r\n`))

test('letter: a date is what the sender says, or nothing if that is none', async () => {
  for (const head of ['', 'Date: rubbish\r\n', 'Date:\r\n']) assert.equal((await letter(head)).date, undefined, head)
  for (const said of ['Thu, 1 Jan 1970 00:00:00 +0000', 'Thu,\r\n 1 Jan 1970 02:00:00 +0200 (EET)', '1 Jan 1970 00:00 GMT'])
    assert.deepEqual((await letter(`Date: ${said}\r\nDate: rubbish\r\n`)).date, new Date(0), said)
})

test('letter: a Message-ID has angle brackets, whether it came with them or not', async () => {
  for (const said of ['<a@x.test>', 'a@x.test']) assert.equal((await letter(`Message-ID: ${said}\r\n`)).messageId, '<a@x.test>')
})
