/** `menagerie types`: the generated index of the cages. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { generateIndex, writeIndex } from '../types.ts'
import { type Command, command } from './command.ts'
import { note, printJson } from './output.ts'
import { flag, option } from './words.ts'

const types = command({
  name: 'types',
  summary: 'writes cages/index.ts, which types all calls',
  words: {
    check: flag('only tells whether it is current'),
    cages: option('DIR', 'the cages’ folder (default: cages)'),
    json: flag('prints JSON'),
  },
  examples: ['types', 'types --check'],
  run: async ({ check, cages = 'cages', json }) => {
    const cagesDir = resolve(cages)
    if (!check) {
      const written = await writeIndex(cagesDir)
      if (json) printJson({ written })
      return 0
    }
    const current = (await readFile(`${cagesDir}/index.ts`, 'utf8').catch(() => '')) === (await generateIndex(cagesDir)) // none is not current
    if (json) printJson({ current })
    else if (!current) note(`${cages}/index.ts is not current: run menagerie types`)
    return current ? 0 : 1
  },
})

export const TYPES_COMMANDS: Command[] = [types]
