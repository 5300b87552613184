/** SMTP does what every resource does. */
import { before } from 'node:test'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { type SmtpServer, startSmtp } from '../support/smtp.ts'

let server: SmtpServer

before(async () => {
  server = await startSmtp(suite)
})

const adapter = ADAPTERS.get('email')
if (!adapter) throw new Error('there is no adapter email')

const mail = { from: 'shop@x.test', to: 'ann@x.test', text: 'hello', messageId: '<1@x.test>' }
const options = (): object => ({ host: '127.0.0.1', port: server.port, user: 'app', password: 'pw' })

resourceConforms({
  name: 'email',
  adapter,
  options,
  quick: {
    method: 'send',
    args: [mail],
    result: { messageId: '<1@x.test>', recipients: [{ address: 'ann@x.test', accepted: true }], response: '250 queued' },
  },
  server: {
    slow: { method: 'send', args: [{ ...mail, to: 'slow@x.test' }] },
    lateCostsConnection: true,
    running: async () => (await server.stats()).running,
    sessions: async () => (await server.stats()).sessions,
    stop: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    refused: () => ({ ...options(), password: 'wrong' }),
  },
})
