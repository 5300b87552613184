#!/usr/bin/env node
/**
 * The `menagerie` command: finds the command that is meant, and has it run. Exit status: 0 done; 1 it failed; 78 (EX_CONFIG of sysexits.h) the
 * words or the configuration are wrong. Only what a command needs is loaded: the bus not before it is asked.
 */
import type { Command } from './cli/command.ts'

const EX_CONFIG = 78
const argv = process.argv.slice(2)

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0) // the reader has seen enough: `menagerie dead ls | head`
})

if (argv[0] === 'start') {
  process.argv.splice(2, 1)
  await import('./node.ts')
} else process.exitCode = await main(argv)

async function main(words: string[]): Promise<number> {
  const commands = await load()
  const [first = '', second = ''] = words
  if (first === '' || first === 'help' || first === '--help' || first === '-h') {
    const about = words.slice(1).filter((word) => word !== '--help')
    if (about.length > 0) return main([...about, '--help'])
    process.stdout.write(help(commands))
    return 0
  }
  if (first === '--version' || first === '-v') return version()
  const found = commands.find(({ name }) => name === `${first} ${second}` || name === first)
  if (found) return found.run(words.slice(found.name.split(' ').length))
  const family = commands.filter(({ name }) => name.startsWith(`${first} `))
  if (family.length > 0 && (second === '' || second === '--help' || second === '-h')) {
    process[second === '' ? 'stderr' : 'stdout'].write(help(family))
    return second === '' ? EX_CONFIG : 0
  }
  return unknown(words, commands)
}

async function load(): Promise<Command[]> {
  const [call, queue, status, dead, notify, password, saga, schedule, tx, types] = await Promise.all([
    import('./cli/call.ts'),
    import('./cli/queue.ts'),
    import('./cli/status.ts'),
    import('./cli/dead.ts'),
    import('./cli/notify.ts'),
    import('./cli/password.ts'),
    import('./cli/saga.ts'),
    import('./cli/schedule.ts'),
    import('./cli/tx.ts'),
    import('./cli/types.ts'),
  ])
  return [
    ...call.CALL_COMMANDS,
    ...queue.QUEUE_COMMANDS,
    ...status.STATUS_COMMANDS,
    ...dead.DEAD_COMMANDS,
    ...notify.NOTIFY_COMMANDS,
    ...password.PASSWORD_COMMANDS,
    ...saga.SAGA_COMMANDS,
    ...schedule.SCHEDULE_COMMANDS,
    ...tx.TX_COMMANDS,
    ...types.TYPES_COMMANDS,
  ]
}

function help(commands: Command[]): string {
  const start = { usage: 'start --cage NAME...', summary: 'runs cages' }
  const lines = commands.some(({ name }) => name === 'call') ? [start, ...commands] : commands
  const width = Math.max(...lines.map(({ usage }) => usage.length)) + 2
  const listed = lines.map(({ usage, summary }) => `  ${usage.padEnd(width)}${summary}\n`).join('')
  return `usage: menagerie COMMAND [options]

${listed}
--help after a command shows its options and an example; --version. Commands that use the bus take --bus URL, and --json.
`
}

async function unknown(words: string[], commands: Command[]): Promise<number> {
  const { meantCommand } = await import('./cli/words.ts')
  const { refuse } = await import('./cli/output.ts')
  const [first = ''] = words
  if (first.startsWith('-')) return refuse([`${first}: the command comes first, then its options`, 'see menagerie --help'])
  const names = [...commands.map(({ name }) => name), 'start']
  const family = names.filter((name) => name.startsWith(`${first} `))
  const given = words.slice(0, family.length > 0 ? 2 : 1)
  const meant = meantCommand(words.slice(0, 2), family.length > 0 ? family : names)
  return refuse([`unknown command ${given.join(' ')}${meant}`, 'see menagerie --help'])
}

async function version(): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  const { version: text } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  process.stdout.write(`${text}\n`)
  return 0
}
