/** The command line of a node: words → options, or every mistake at once. Pure. */
import { readName } from './cli/values.ts'
import { asksFor, flag, option, options, optionsHelp, readWords, type Words } from './cli/words.ts'
import { LOG_LEVELS, type LogLevel } from './levels.ts'
import { didYouMean } from './names.ts'
import { EMBEDDED_PORT, OPS_HOST, readListen, readServers } from './servers.ts'

export interface NodeArguments {
  cages: string[]
  bus: string[]
  configDir: string
  cagesDir: string
  name: string | undefined
  logLevel: LogLevel | undefined
  ops: { host: string; port: number } | undefined
  /** Logs are JSON on a terminal too. */
  json: boolean
}

export type ParsedArguments =
  | { kind: 'run'; options: NodeArguments }
  | { kind: 'help' }
  | { kind: 'version' }
  | { kind: 'mistakes'; mistakes: string[] }

const WORDS = {
  cage: options('NAME', 'a cage to run: the folder NAME under --cages; repeat it for more', readName),
  bus: options(
    'URL',
    `a NATS server, nats://[user:password@]host:port or tls://...; repeat it for a cluster
(else NATS_URL, else config/node.ts, else a server of our own on 127.0.0.1:${EMBEDDED_PORT})`,
    readServers,
  ),
  config: option('DIR', 'configuration files (default: config)'),
  cages: option('DIR', "the cages' folder (default: cages)"),
  name: option('NODE', "this node's name (default: the host's)"),
  'log-level': option('LEVEL', `${LOG_LEVELS.join(', ')} (default: info)`, readLevel),
  ops: option('[HOST:]PORT', `serves /metrics, /healthz and /readyz there (default: nowhere; host: ${OPS_HOST})`, readListen),
  json: flag('logs JSON, one document a line, on a terminal too'),
  help: flag('this'),
  version: flag('of the package'),
}

/** What a node takes. */
export const NODE_WORDS: Words = WORDS

export const NODE_HELP: string = `Runs cages of modules on a NATS bus.

usage: node dist/node.js --cage NAME [--cage NAME]... [options]

${optionsHelp(WORDS)}`

/** Reads the words after `node dist/node.js`. */
export function parseNodeArguments(argv: string[]): ParsedArguments {
  if (asksFor(argv, 'help', 'h')) return { kind: 'help' }
  if (asksFor(argv, 'version', 'v')) return { kind: 'version' }
  const { values, mistakes } = readWords(argv, WORDS)
  if (!mistakes.some((mistake) => mistake.includes('--cage')) && values.cage.length === 0) mistakes.push('no cage is named: --cage NAME')
  if (mistakes.length > 0) return { kind: 'mistakes', mistakes }
  const { cage, bus, config: configDir = 'config', cages: cagesDir = 'cages', name, 'log-level': logLevel, ops, json } = values
  return { kind: 'run', options: { cages: [...new Set(cage)], bus: bus.flat(), configDir, cagesDir, name, logLevel, ops, json } }
}

function readLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text)
  if (level === undefined) throw new Error(`unknown level${didYouMean(text, LOG_LEVELS)} (${LOG_LEVELS.join(', ')})`)
  return level
}
