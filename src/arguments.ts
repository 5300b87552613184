/** The command line of a node: words → options, or every mistake at once. Pure. */
import { parseArgs } from 'node:util'
import { LOG_LEVELS, type LogLevel } from './log.ts'
import { didYouMean, isName } from './names.ts'

export interface NodeArguments {
  cages: string[]
  bus: string[]
  configDir: string
  cagesDir: string
  name: string | undefined
  logLevel: LogLevel | undefined
}

export type ParsedArguments =
  | { kind: 'run'; options: NodeArguments }
  | { kind: 'help' }
  | { kind: 'version' }
  | { kind: 'mistakes'; mistakes: string[] }

const OPTIONS = {
  cage: { type: 'string', multiple: true },
  bus: { type: 'string', multiple: true },
  config: { type: 'string' },
  cages: { type: 'string' },
  name: { type: 'string' },
  'log-level': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

export const NODE_HELP: string = `Runs cages of modules on a NATS bus.

usage: node dist/node.js --cage NAME [--cage NAME]... [options]

  --cage NAME        a cage to run: the folder NAME under --cages; repeat it for more
  --bus URL          a NATS server, nats://[user:password@]host:port or tls://...; repeat it for a cluster
                     (else NATS_URL, else config/node.ts, else a server of our own on 127.0.0.1:4222)
  --config DIR       configuration files (default: config)
  --cages DIR        the cages' folder (default: cages)
  --name NODE        this node's name (default: the host's)
  --log-level LEVEL  ${LOG_LEVELS.join(', ')} (default: info)
  --help, --version
`

/** Reads the words after `node dist/node.js`. */
export function parseNodeArguments(argv: string[]): ParsedArguments {
  const { values, tokens } = parseArgs({ args: argv, options: OPTIONS, strict: false, tokens: true, allowPositionals: true })
  if (values.help) return { kind: 'help' }
  if (values.version) return { kind: 'version' }
  const known = Object.keys(OPTIONS)
  const mistakes: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional')
      mistakes.push(
        `${JSON.stringify(token.value)} is not an option${known.includes(token.value) ? `, did you mean --${token.value}?` : ''}`,
      )
    if (token.kind !== 'option') continue
    if (!known.includes(token.name))
      mistakes.push(`unknown option ${token.rawName}${didYouMean(token.name, known).replace('mean ', 'mean --')}`)
    else if (OPTIONS[token.name as keyof typeof OPTIONS].type === 'string' && !token.value) mistakes.push(`${token.rawName} needs a value`)
  }
  const cages = [...new Set(strings(values.cage))]
  const bus = strings(values.bus).flatMap((text) => text.split(','))
  if (cages.length === 0 && !mistakes.some((mistake) => mistake.includes('--cage'))) mistakes.push('no cage is named: --cage NAME')
  for (const cage of cages)
    if (!isName(cage)) mistakes.push(`--cage ${cage}: a name has letters, digits, _ and -, at most 32, and begins with a letter`)
  for (const url of bus) if (!isServer(url)) mistakes.push(`--bus ${url}: not a NATS server, it looks like nats://host:4222`)
  const level = strings(values['log-level'])[0]
  if (level !== undefined && !isLevel(level))
    mistakes.push(`--log-level ${level}: unknown level${didYouMean(level, LOG_LEVELS)} (${LOG_LEVELS.join(', ')})`)
  if (mistakes.length > 0) return { kind: 'mistakes', mistakes }
  const [configDir = 'config', cagesDir = 'cages', name] = [values.config, values.cages, values.name].map((value) => strings(value)[0])
  return { kind: 'run', options: { cages, bus, configDir, cagesDir, name, logLevel: level as LogLevel | undefined } }
}

function isLevel(text: string): text is LogLevel {
  return (LOG_LEVELS as readonly string[]).includes(text)
}

/** Whether a text names a NATS server. */
export function isServer(text: string): boolean {
  const url = text.includes('://') ? text : `nats://${text}`
  return URL.canParse(url) && /^(nats|tls):$/.test(new URL(url).protocol) && new URL(url).hostname !== ''
}

function strings(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter((item): item is string => typeof item === 'string')
}
