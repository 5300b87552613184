import { defineCage, env } from 'menagerie'

/** The sample cage as it is delivered, with its web interface on a port that is free. */
export default defineCage({
  interfaces: { web: { kind: 'http', port: Number(env('BENCH_HTTP_PORT')), routes: { 'GET /hello/:name': 'greeter.hello' } } },
})
