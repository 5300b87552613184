/** What the sources of a project's cages declare, for who asks what a method takes. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Signature, signaturesIn } from '../actors/signature.ts'
import { hashOf } from '../actors/version.ts'
import { compile } from '../compile.ts'

export interface SourceTypes {
  signatures: Map<string, Signature>
  /** Of the compiled source, as copies tell it of what they run; undefined: it does not compile. */
  hash: string | undefined
}

/** Of a module's file, its cage's own or the one that all share; undefined if there is none here. */
export async function sourceTypes(cagesDir: string, cage: string, module: string): Promise<SourceTypes | undefined> {
  for (const folder of [cage, '.shared'])
    for (const extension of ['ts', 'js']) {
      const file = resolve(join(cagesDir, folder, `${module}.${extension}`))
      const source = await readFile(file, 'utf8').catch(() => undefined)
      if (source === undefined) continue
      const compiled = await compile(file, resolve('.menagerie', 'cache')).catch(() => undefined) // what it declares can be read all the same
      return { signatures: signaturesIn(source), hash: compiled && hashOf(compiled.code) }
    }
  return undefined
}
