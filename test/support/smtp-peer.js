/**
 * A mail server in a process of its own (smtp-server), told by its parent what to do. What it does with a recipient is said by the name:
 * nobody@ is unknown, later@ temporarily refused, spam@ refused with the message, slow@ takes for ever, lost@ loses the connection after the dot.
 */
import { readFileSync } from 'node:fs'
import { SMTPServer } from 'smtp-server'

const { port, cert, key, secure = false, size } = JSON.parse(process.argv[2] ?? '{}')
const messages = []
const running = new Set()
const sessions = new Set()
const refuse = (responseCode, message) => Object.assign(new Error(message), { responseCode })

const server = new SMTPServer({
  ...(cert ? { cert: readFileSync(cert), key: readFileSync(key) } : { disabledCommands: ['STARTTLS'], allowInsecureAuth: true }),
  ...{ secure, size, authOptional: true, disableReverseLookup: true, authMethods: ['PLAIN', 'LOGIN', 'CRAM-MD5'] },
  onConnect: ({ id }, done) => {
    sessions.add(id)
    done()
  },
  onClose: ({ id }) => {
    sessions.delete(id)
    running.delete(id)
  },
  onAuth: ({ username, password, validatePassword }, _session, done) =>
    username === 'app' && (password === 'pw' || validatePassword?.('pw')) ? done(null, { user: username }) : done(new Error('no')),
  onRcptTo: ({ address }, _session, done) => {
    if (address.startsWith('nobody@')) return done(refuse(550, '5.1.1 no such user'))
    if (address.startsWith('later@')) return done(refuse(451, '4.7.1 try later'))
    done()
  },
  onData(stream, session, done) {
    const chunks = []
    const to = session.envelope.rcptTo.map(({ address }) => address)
    const is = (name) => to.some((address) => address.startsWith(`${name}@`))
    let bytes = 0
    stream.on('data', (chunk) => {
      chunks.push(chunk)
      bytes += chunk.length
      process.send({ event: 'bytes', bytes })
    })
    stream.on('end', () => {
      if (stream.sizeExceeded) return done(refuse(552, '5.3.4 too large'))
      if (is('spam')) return done(refuse(554, '5.7.1 not wanted'))
      if (is('slow')) return void running.add(session.id)
      if (is('lost')) return process.exit(1)
      const { secure: tls, user } = session
      messages.push({ from: session.envelope.mailFrom.address, to, raw: Buffer.concat(chunks).toString('latin1'), tls, user })
      done(null, 'queued')
    })
  },
})
server.on('error', (error) => error.code === 'EADDRINUSE' && console.error(error)) // all else is a connection's
server.listen(port, '127.0.0.1', () => process.send({ event: 'ready' }))
process.on('message', (id) => {
  const answer = () => process.send({ event: 'answer', id, running: running.size, sessions: sessions.size, messages })
  setImmediate(() => setImmediate(() => setImmediate(answer))) // what has been closed before is known by then
})
process.on('disconnect', () => process.exit())
