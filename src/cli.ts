#!/usr/bin/env node
/** The `menagerie` command. */
import { resolve } from 'node:path'

const HELP = `usage: menagerie COMMAND [options]

  start --cage NAME ...          run cages (menagerie start --help)
  call CAGE.MODULE.METHOD [JSON] call a method with a JSON list of arguments, print its result
  types [--check] [--cages DIR]  write cages/index.ts, or check that it is current
`

const [command, ...rest] = process.argv.slice(2)

switch (command) {
  case 'start':
    process.argv.splice(2, 1)
    await import('./node.ts')
    break
  case 'call':
    process.exitCode = await (await import('./call.ts')).call(rest)
    break
  case 'types':
    process.exitCode = await types(rest)
    break
  case undefined:
  case '--help':
  case '-h':
    process.stdout.write(HELP)
    break
  default:
    process.stderr.write(`menagerie: unknown command ${command}\n\n${HELP}`)
    process.exitCode = 78
}

async function types(argv: string[]): Promise<number> {
  const { parseArgs } = await import('node:util')
  const { generateIndex, writeIndex } = await import('./types.ts')
  const { values } = parseArgs({ args: argv, options: { check: { type: 'boolean' }, cages: { type: 'string', default: 'cages' } } })
  const cagesDir = resolve(values.cages)
  if (!values.check) {
    await writeIndex(cagesDir)
    return 0
  }
  const { readFile } = await import('node:fs/promises')
  const current = await readFile(`${cagesDir}/index.ts`, 'utf8').catch(() => '')
  if (current === (await generateIndex(cagesDir))) return 0
  process.stderr.write('cages/index.ts is not current: run `npm run types`\n')
  return 1
}
