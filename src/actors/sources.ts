/** Sources: the files that a cage's modules are made of: its own, and those that every cage has. */
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { isName } from '../names.ts'

const EXTENSIONS = ['.ts', '.js']
const SHARED = '.shared'

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
