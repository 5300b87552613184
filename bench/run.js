/** Measures the sets that are asked for and prints a markdown table for each. Started by scripts/bench.js. */
import { readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { connect, headers } from 'nats'
import { ROOT, retry, startNatsServer, stop, stopAll } from './processes.js'
import { figure } from './table.js'

/**
 * What a set works with.
 * @typedef {object} Run
 * @property {string} url of the bus
 * @property {import('node:child_process').ChildProcess} server nats-server
 * @property {(subject: string, args: unknown[], timeoutMs?: number) => Promise<any>} ask one call as a foreign client makes it, JSON
 * @property {(subject: string, args: unknown[]) => Promise<any>} answered asks until there is an answer
 * @property {number} rounds
 * @property {boolean} quick
 * @property {(round: number, text: string) => void} progress
 */

/**
 * Measures; resolves to the process's exit status: 1 if a set could not be measured.
 * @param {{ sets: string[], rounds: number | undefined, quick: boolean, natsServer: string }} options
 */
export async function run({ sets, rounds, quick, natsServer }) {
  const { server, url } = await startNatsServer(natsServer)
  const nc = await connect({ servers: url, maxReconnectAttempts: 0 })
  const sections = [facts(nc.info?.version ?? '?', quick)]
  let status = 0
  for (const name of sets) {
    const set = await import(`./sets/${name}.js`)
    const planned = rounds ?? (quick ? set.rounds.quick : set.rounds.full)
    const heading = `## ${name}: ${set.title} (${planned === 1 ? '1 round' : `${planned} rounds`})`
    try {
      const progress = (round, text) => say(`${name} ${round + 1}/${planned}  ${text}`)
      sections.push(heading, await set.measure({ url, server, ...client(nc), rounds: planned, quick, progress }))
    } catch (error) {
      status = 1
      process.stderr.write(`${error instanceof Error ? describe(error) : String(error)}\n`)
      sections.push(heading, `Not measured: ${error instanceof Error ? error.message : String(error)}`)
    }
    await stopAll(server)
  }
  await nc.close()
  await stop(server)
  process.stdout.write(`${sections.join('\n\n')}\n`)
  return status
}

function client(nc) {
  const ask = async (subject, args, timeoutMs = 10_000) => {
    const asked = headers()
    asked.set('Timeout-Ms', String(timeoutMs))
    const msg = await nc.request(subject, JSON.stringify(args), { timeout: timeoutMs, headers: asked })
    if (msg.headers?.get('Nats-Service-Error-Code')) throw new Error(`${subject}: ${msg.string()}`)
    return msg.json()
  }
  const answered = (subject, args) => retry(() => ask(subject, args, 5000), `${subject} does not answer`)
  return { ask, answered }
}

function facts(server, quick) {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const processors = cpus()
  return [
    `# Benchmark of menagerie ${version}${quick ? ', quick' : ''}`,
    `${new Date().toISOString().slice(0, 16)}Z; ${processors[0]?.model.trim() ?? 'unknown CPU'}, ${processors.length} cores, ` +
      `${figure(totalmem() / 2 ** 30)} GB, load ${loadavg()[0]?.toFixed(2)} before; Node.js ${process.versions.node}; nats-server ${server} on loopback. ` +
      'Medians of interleaved rounds; a ratio is the median of the rounds’ ratios.',
  ].join('\n\n')
}

function describe(error) {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}

function say(text) {
  process.stderr.write(process.stderr.isTTY ? `\x1b[2m${text}\x1b[0m\n` : `${text}\n`)
}
