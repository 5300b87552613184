/** `npm run bench [-- SET... --rounds N --quick]`: makes sure of everything, measures, prints markdown tables. bench/README.md tells how to read them. */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findNatsServer } from './nats-server.js'
import { ensureBuild, ensureDependencies, ensureNatsServer, ensurePostgres, ROOT, step } from './setup.js'

const SETS = ['sync', 'http', 'start', 'memory', 'queue', 'transactions']

const HELP = `Measures Menagerie beside raw nats.js, frameworks, and other ways to do the same, in one run.

usage: npm run bench -- [SET]... [options]
       node scripts/bench.js [SET]... [options]

  sync        calls with an answer between two processes, 1, 64 and 256 at once
  http        an HTTP request in front of one call (needs wrk)
  start       a process's start to its first answer
  memory      resident memory, and what 1,000 and 10,000 methods cost
  queue       durable calls end to end, beside nats.js and BullMQ (needs redis-server)
  transactions  resources, transactions and sagas, beside pg and DBOS Transact (needs PostgreSQL)
              (default: all of them; about 15 minutes, with --quick 5)

  --rounds N  rounds of each set
  --quick     fewer and shorter rounds: to see that it works, not to quote
  --help

Progress goes to standard error, markdown to standard output. Exit status: 1 if a set could not be measured, 2 if the command is wrong.
`

const options = read(process.argv.slice(2))
await step(async () => {
  ensureDependencies()
  ensureDependencies(join(ROOT, 'bench'))
  ensureBuild()
  await ensureNatsServer()
  if (options.sets.includes('transactions')) await ensurePostgres()
  const { run } = await import('../bench/run.js')
  process.exit(await run({ ...options, natsServer: findNatsServer(join(ROOT, '.menagerie')) ?? 'nats-server' }))
})

function read(argv) {
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      options: { rounds: { type: 'string' }, quick: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    })
    if (values.help) {
      process.stdout.write(HELP)
      process.exit(0)
    }
    const unknown = positionals.find((set) => !SETS.includes(set))
    if (unknown !== undefined) throw new Error(`unknown set ${unknown}, there are ${SETS.join(', ')}`)
    if (values.rounds !== undefined && !/^[1-9]\d*$/.test(values.rounds)) throw new Error(`--rounds ${values.rounds}: not a number from 1`)
    const sets = SETS.filter((set) => positionals.length === 0 || positionals.includes(set))
    return { sets, rounds: values.rounds === undefined ? undefined : Number(values.rounds), quick: values.quick }
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}, see --help\n`)
    process.exit(2)
  }
}
