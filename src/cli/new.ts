/** `menagerie new`: cages, modules, adapters and projects to begin with. They pass the checks as they are. */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { CageError } from '../errors.ts'
import { didYouMean, isName } from '../names.ts'
import { writeIndex } from '../types.ts'
import { type Command, command } from './command.ts'
import { note, print, printJson } from './output.ts'
import { adapterFiles, cageFiles, type Files, moduleFiles, projectFiles } from './scaffold.ts'
import { readName } from './values.ts'
import { flag, operand } from './words.ts'

const JSON_FLAG = { json: flag('prints JSON') }

const cage = command({
  name: 'new cage',
  summary: 'writes a cage with a module, its configuration and a test, in this folder',
  notes: 'What is there already is never changed. Run it: menagerie start --cage NAME.',
  words: { name: operand('NAME', readName), ...JSON_FLAG },
  examples: ['new cage shop'],
  run: async ({ name, json }) => {
    if (existsSync(join('cages', name)))
      throw new CageError('CONFLICT', `there is a cage ${name} already: menagerie new module ${name}.NAME`)
    return write('.', cageFiles(name), json, [`node --test test/${name}.greeter.test.js   # tests it`, `menagerie start --cage ${name}`])
  },
})

const module = command({
  name: 'new module',
  summary: 'writes a module of a cage that is in this folder, and a test',
  words: { place: operand('CAGE.NAME', readModule), ...JSON_FLAG },
  examples: ['new module shop.payment'],
  run: async ({ place, json }) => {
    const [cageName, name] = place
    if (!existsSync(join('cages', cageName))) {
      const known = await readdir('cages').catch(() => [])
      throw new CageError(
        'NOT_FOUND',
        `there is no folder cages/${cageName}${didYouMean(cageName, known)} (menagerie new cage ${cageName})`,
      )
    }
    const other = join('cages', cageName, `${name}.js`)
    if (existsSync(other)) throw new CageError('CONFLICT', `there is a file ${other} already`)
    return write('.', moduleFiles(cageName, name), json, [`node --test test/${cageName}.${name}.test.js   # tests it`])
  },
})

const adapter = command({
  name: 'new adapter',
  summary: 'writes an adapter of your own, and a test that holds it to the contract',
  notes: 'It is a resource that needs no server; docs/adapters/writing.md has one that is both, and what they promise.',
  words: { name: operand('NAME', readName), ...JSON_FLAG },
  examples: ['new adapter directory'],
  run: async ({ name, json }) => {
    const status = await write('.', adapterFiles(name), json, [`node --test test/${name}.adapter.test.js   # tests it`])
    if (!canResolve('zod')) note('it imports zod, which is not here: npm install zod')
    return status
  },
})

const newProject = command({
  name: 'new project',
  summary: 'writes a project with a cage, in a folder of its own',
  words: { dir: operand('DIR', (text) => text), ...JSON_FLAG },
  examples: ['new project my-shop'],
  run: async ({ dir, json }) => {
    const name = basename(resolve(dir)).toLowerCase()
    if (!/^[a-z0-9][a-z0-9._-]*$/.test(name))
      throw new CageError('INVALID_ARGUMENT', `${name} cannot be a package’s name: use a-z, 0-9, - and _`)
    const manifest = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as Manifest
    const versions = { menagerie: manifest.version, typescript: manifest.devDependencies.typescript }
    return write(dir, projectFiles(name, versions), json, [`cd ${dir}`, 'npm install', 'npm test', 'npm start'])
  },
})

export const NEW_COMMANDS: Command[] = [cage, module, adapter, newProject]

interface Manifest {
  version: string
  devDependencies: { typescript: string }
}

/** Writes all of the files or, if one of them is there, none. Keeps the index of the cages current. */
async function write(dir: string, files: Files, json: boolean, next: string[]): Promise<number> {
  const there = Object.keys(files).filter((file) => existsSync(join(dir, file)))
  if (there.length > 0)
    throw new CageError('CONFLICT', `${there.join(', ')} ${there.length === 1 ? 'is' : 'are'} there already, nothing was written`)
  const written: string[] = []
  for (const [file, text] of Object.entries(files)) {
    try {
      await mkdir(dirname(join(dir, file)), { recursive: true })
      await writeFile(join(dir, file), text, { flag: 'wx' })
    } catch (cause) {
      throw new CageError('UNAVAILABLE', `${join(dir, file)} cannot be written: ${cause instanceof Error ? cause.message : cause}`, {
        cause,
      })
    }
    written.push(file)
  }
  if (written.some((file) => file.startsWith('cages/')) && (await writeIndex(join(dir, 'cages')))) written.push('cages/index.ts')
  if (json) printJson({ written })
  else {
    for (const file of written) print(file)
    note(`next:\n${next.map((line) => `  ${line}`).join('\n')}`)
  }
  return 0
}

function canResolve(name: string): boolean {
  try {
    createRequire(resolve('package.json')).resolve(name)
    return true
  } catch {
    return false
  }
}

function readModule(text: string): [cage: string, module: string] {
  const [cageName = '', name = '', ...more] = text.split('.')
  if (more.length > 0 || !isName(cageName) || !isName(name)) throw new Error('a module is named CAGE.NAME, as in shop.payment')
  return [cageName, name]
}
