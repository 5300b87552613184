/** A plain Fastify route that makes one raw call. */
import fastify from 'fastify'
import { connect } from './raw.js'

export async function front(url, { port }) {
  const { call } = await connect(url)
  const app = fastify()
  app.get('/hello/:name', (request) => call(request.params.name))
  await app.listen({ port, host: '127.0.0.1' })
}
