/** Options of JMS: what is taken, and what is told of mistakes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jmsListenOptions, jmsOptions } from '../../src/adapters/jms/options.ts'

test('jms: a url says it all, and what is given besides is laid over', () => {
  const { host, port, user, password, virtualHost, tls } = jmsOptions.parse({ url: 'stomp+ssl://app:s%40cret@mq.example/shop' })
  assert.deepEqual([host, port, user, password, virtualHost, tls], ['mq.example', 61_614, 'app', 's@cret', 'shop', { verify: true }])
  const local = jmsOptions.parse({ url: 'stomp://127.0.0.1', user: 'app' })
  assert.deepEqual([local.port, local.user, local.virtualHost, local.tls, local.persistent], [61_613, 'app', '/', false, true])
  assert.deepEqual(jmsOptions.parse({ host: 'mq.example' }).tls, { verify: true }, 'other machines are spoken to by TLS')
  assert.equal(jmsOptions.parse({ host: '::1', tls: true }).port, 61_614)
  assert.equal(jmsOptions.parse({ url: 'stomp://[::1]:61000' }).host, '::1')
})

test('jms: mistakes are told, and never a password', () => {
  const base = { url: 'stomp://127.0.0.1', destination: '/queue/x', handler: 'a.b' }
  const wrong: [object, RegExp][] = [
    [{ ...base, url: 'http://127.0.0.1' }, /neither a stomp/],
    [{ ...base, url: 'stomp://app:secret%@127.0.0.1' }, /%/],
    [{ ...base, url: 'stomp://app:secret%0a@127.0.0.1' }, /line break/],
    [{ ...base, url: 'stomp://127.0.0.1?x=1' }, /more than/],
    [{ ...base, url: undefined }, /a host or a url/],
    [{ ...base, password: 'secret\n' }, /line break/],
    [{ ...base, handler: 'take' }, /neither module.method/],
    [{ ...base, durable: 'x' }, /topics/],
    [{ ...base, tls: { certFile: 'x' } }, /together/],
    [{ ...base, prefetch: 1 }, /prefetch/],
  ]
  for (const [options, pattern] of wrong) {
    const { error } = jmsListenOptions.safeParse(options)
    assert.match(error?.message ?? 'no error', pattern)
    assert.doesNotMatch(error?.message ?? '', /secret/)
  }
})
