/** Sources: the files that a cage's modules are made of: its own, and those that every cage has. */
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { isName } from '../names.ts'

const EXTENSIONS = ['.ts', '.js']
const SHARED = '.shared'

/** Cages that come with the package, for projects that have none of such a name. */
const PACKAGED: readonly string[] = ['monitor']
const PACKAGE = join(import.meta.dirname, '..', '..')

/** The folder of the package that has a cage's own folders `cages` and `config`; undefined: the project has it, or nobody. */
export function packageOf(cagesDir: string, cage: string): string | undefined {
  return PACKAGED.includes(cage) && !existsSync(join(cagesDir, cage)) ? PACKAGE : undefined
}

/** The names of a cage's modules, sorted. A folder that is not there has none. */
export async function moduleNames(cagesDir: string, cage: string): Promise<string[]> {
  const names = new Set<string>()
  for (const folder of [join(cagesDir, cage), join(cagesDir, SHARED)]) {
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
      const { name, ext } = parse(entry.name)
      if (!entry.isDirectory() && EXTENSIONS.includes(ext) && !name.endsWith('.d') && isName(name)) names.add(name)
    }
  }
  return [...names].sort()
}

/** The file of a module: the cage's own, else the shared one. */
export function fileOf(cagesDir: string, cage: string, name: string): string | undefined {
  return [cage, SHARED]
    .flatMap((folder) => EXTENSIONS.map((extension) => join(cagesDir, folder, name + extension)))
    .find((file) => existsSync(file))
}
