import { defineCage, env } from 'menagerie'

const target = env('BENCH_HTTP_TARGET', 'greeter.hello')

export default defineCage({
  interfaces: { web: { kind: 'http', port: Number(env('BENCH_HTTP_PORT')), routes: { 'GET /hello/:name': target } } },
})
