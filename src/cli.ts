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
  const json = words.includes('--json')
  const [first = '', second = ''] = words
  if (first === '' || first === 'help' || first === '--help' || first === '-h') {
    const about = words.slice(1).filter((word) => word !== '--help' && word !== '--json')
    if (about.length > 0) return main([...about, '--help'])
    process.stdout.write(json ? listing(commands) : help(commands))
    return 0
  }
  if (first === '--version' || first === '-v') return version(json)
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
  const [call, completion, dead, doctor, level, ls, made, notify, password, queue, repl, saga, schedule, status, tail, top, tx, types] =
    await Promise.all([
      import('./cli/call.ts'),
      import('./cli/completion.ts'),
      import('./cli/dead.ts'),
      import('./cli/doctor.ts'),
      import('./cli/level.ts'),
      import('./cli/ls.ts'),
      import('./cli/new.ts'),
      import('./cli/notify.ts'),
      import('./cli/password.ts'),
      import('./cli/queue.ts'),
      import('./cli/repl.ts'),
      import('./cli/saga.ts'),
      import('./cli/schedule.ts'),
      import('./cli/status.ts'),
      import('./cli/tail.ts'),
      import('./cli/top.ts'),
      import('./cli/tx.ts'),
      import('./cli/types.ts'),
    ])
  const { NODE_WORDS } = await import('./arguments.ts')
  const start: Command = {
    ...{ name: 'start', usage: 'start --cage NAME...', summary: 'runs cages', words: NODE_WORDS },
    run: async () => EX_CONFIG, // a node is an entry of its own: it never comes here
  }
  const all: Command[] = [
    start,
    ...call.CALL_COMMANDS,
    ...ls.LS_COMMANDS,
    ...top.TOP_COMMANDS,
    ...tail.TAIL_COMMANDS,
    ...level.LEVEL_COMMANDS,
    ...doctor.DOCTOR_COMMANDS,
    ...repl.REPL_COMMANDS,
    ...queue.QUEUE_COMMANDS,
    ...status.STATUS_COMMANDS,
    ...dead.DEAD_COMMANDS,
    ...notify.NOTIFY_COMMANDS,
    ...password.PASSWORD_COMMANDS,
    ...saga.SAGA_COMMANDS,
    ...schedule.SCHEDULE_COMMANDS,
    ...tx.TX_COMMANDS,
    ...made.NEW_COMMANDS,
    ...types.TYPES_COMMANDS,
    ...completion.completionCommands(() => all),
  ]
  return all
}

function help(commands: Command[]): string {
  const lines = commands.filter(({ hidden }) => !hidden)
  const width = Math.max(...lines.map(({ usage }) => usage.length)) + 2
  const listed = lines.map(({ usage, summary }) => `  ${usage.padEnd(width)}${summary}\n`).join('')
  return `usage: menagerie COMMAND [options]

${listed}
--help after a command shows its options and an example; --version. Commands that use the bus take --bus URL; --json prints JSON.
Exit status: 0 done, or no problem; 1 it failed, was answered with no, or doctor found a problem; 78 the words or the configuration are wrong.
NO_COLOR: no colours. menagerie completion SHELL: completion. docs/cli.md tells more.
`
}

/** One command a line. */
function listing(commands: Command[]): string {
  return commands
    .filter(({ hidden }) => !hidden)
    .map(({ name, usage, summary }) => `${JSON.stringify({ name, usage, summary })}\n`)
    .join('')
}

async function unknown(words: string[], commands: Command[]): Promise<number> {
  const { meantCommand } = await import('./cli/words.ts')
  const { refuse } = await import('./cli/output.ts')
  const [first = ''] = words
  if (first.startsWith('-')) return refuse([`${first}: the command comes first, then its options`, 'see menagerie --help'])
  const names = commands.filter(({ hidden }) => !hidden).map(({ name }) => name)
  const family = names.filter((name) => name.startsWith(`${first} `))
  const given = words.slice(0, family.length > 0 ? 2 : 1)
  const meant = meantCommand(words.slice(0, 2), family.length > 0 ? family : names)
  return refuse([`unknown command ${given.join(' ')}${meant}`, 'see menagerie --help'])
}

async function version(json: boolean): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  const { version: text } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  process.stdout.write(json ? `${JSON.stringify({ version: text })}\n` : `${text}\n`)
  return 0
}
