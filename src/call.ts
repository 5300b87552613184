/** `menagerie call`: one call from the command line, as any NATS client makes it. */
import { parseArgs } from 'node:util'
import { connect } from 'nats'
import { connectionOptions } from './bus/connection.ts'

const HELP = `usage: menagerie call CAGE.MODULE.METHOD [JSON] [--bus URL]... [--timeout MS]

  JSON is the list of arguments, '["World"]', or one argument; a JSON text needs its quotes.
`

/** Calls, prints the result as JSON, and returns the exit status: 1 if the call failed, 78 if the command is wrong. */
export async function call(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    options: { bus: { type: 'string', multiple: true }, timeout: { type: 'string', default: '10000' }, help: { type: 'boolean' } },
    allowPositionals: true,
  })
  const [subject, text = ''] = positionals
  if (values.help || subject?.split('.').length !== 3) {
    process[values.help ? 'stdout' : 'stderr'].write(HELP)
    return values.help ? 0 : 78
  }
  const servers = values.bus ?? process.env.NATS_URL?.split(',') ?? ['nats://127.0.0.1:4222']
  const nc = await connect(connectionOptions('menagerie call', { servers })).catch((error: Error) => error)
  if (nc instanceof Error) return fail(`the bus does not answer at ${servers.join(', ')}: ${nc.message}`)
  try {
    const { headers } = await import('nats')
    const timeoutMs = Number(values.timeout)
    const asked = headers()
    asked.set('Timeout-Ms', String(timeoutMs))
    const msg = await nc.request(subject, text, { timeout: timeoutMs, headers: asked })
    const status = msg.headers?.get('Nats-Service-Error-Code')
    if (status) return fail(msg.string())
    process.stdout.write(`${msg.string()}\n`)
    return 0
  } catch (error) {
    return fail(error instanceof Error && error.message === '503' ? `UNAVAILABLE: nobody serves ${subject}` : String(error))
  } finally {
    await nc.close()
  }
}

function fail(message: string): number {
  process.stderr.write(`menagerie: ${message}\n`)
  return 1
}
