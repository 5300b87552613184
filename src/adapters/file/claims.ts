/**
 * Claims: who works on which dropped file. A file is claimed by renaming it into a folder of its claim, which lies with its owner or waits:
 *
 *     <dir>/name  ->  claims/<owner>/<id>~<attempt>~<failures>/name  ->  removed, moved, or waiting/<id>~<attempt>~<failures>~<due>/name
 *
 * C1. A rename succeeds for one: no file has two owners. What nobody owns is in the folder or waits.
 * C2. What a dead owner has left waits again, as a failed attempt.
 * C3. Nothing is replaced where a file is moved to: a second one of a name has its claim's id besides.
 */
import { randomBytes } from 'node:crypto'
import { link, lstat, readdir, rename, rmdir, unlink, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CageError } from '../../errors.ts'
import { errnoOf } from './errors.ts'
import { Folder, ifThere } from './folder.ts'
import { OWN } from './names.ts'
import { isAlive } from './owner.ts'

/** A file that is ours. */
export interface Claim {
  readonly id: string
  readonly name: string
  /** Counts from 1. */
  readonly attempt: number
  /** Those that did not count too. */
  readonly failures: number
  /** Parts of its folder. */
  readonly parts: readonly string[]
}

/** A file that waits for its next attempt. */
export interface Waiting {
  readonly entry: string
  readonly dueAt: number
}

const CLAIMS = [OWN, 'claims']
const WAITING = [OWN, 'waiting']

export class Claims {
  readonly #folder: Folder
  readonly #owner: string

  constructor(folder: Folder, owner: string) {
    this.#folder = folder
    this.#owner = owner
  }

  /** Makes its folders; what an interface of ours before has left waits again. */
  async open(): Promise<void> {
    await this.#folder.within(WAITING, async () => {}, true)
    await this.#folder.within(this.#own, async () => {}, true)
    await this.#giveUp(this.#owner)
  }

  /** C1. Undefined: another has it, or it is gone. */
  async take(name: string): Promise<Claim | undefined> {
    if (!(await this.#folder.isThere([name]))) return undefined // another was faster: this costs less than a claim
    const claim: Claim = { id: randomBytes(9).toString('hex'), name, attempt: 1, failures: 0, parts: [] }
    const parts = [...this.#own, entryOf(claim)]
    const isOurs = await this.#folder.within(
      parts,
      (place) => this.#folder.within([], (source) => ifThere(rename(source.path(name), place.path(name)))),
      true,
    )
    if (isOurs) return { ...claim, parts }
    await this.#folder.remove(parts)
    return undefined
  }

  /** C1. Undefined: another has it. */
  async takeWaiting({ entry }: Waiting): Promise<Claim | undefined> {
    const { id, attempt, failures } = parse(entry)
    const parts = [...this.#own, `${id}~${attempt}~${failures}`]
    if (!(await this.#rename([...WAITING, entry], parts))) return undefined
    const [name] = await this.#folder.names(parts)
    if (name !== undefined) return { id, name, attempt, failures, parts }
    await this.#folder.remove(parts) // its owner died before it had the file
    return undefined
  }

  async waiting(): Promise<Waiting[]> {
    const entries = await this.#folder.names(WAITING)
    return entries.map((entry) => ({ entry, dueAt: parse(entry).dueAt })).sort((a, b) => a.dueAt - b.dueAt)
  }

  async giveBack(claim: Claim, attempt: number, dueAt: number): Promise<void> {
    await this.#rename(claim.parts, [...WAITING, `${entryOf({ ...claim, attempt, failures: claim.failures + 1 })}~${Math.round(dueAt)}`])
  }

  /** It has been dealt with. A method may have taken the file away by itself. */
  async remove(claim: Claim): Promise<void> {
    await this.#folder.remove(claim.parts)
  }

  /** C3. Resolves with its path. `dir` itself is no link: whoever may drop files could make one. */
  async move({ id, name, parts }: Claim, dir: string): Promise<string> {
    const moved = await new Folder(dirname(dir), 0).within([basename(dir)], (target) =>
      this.#folder.within(parts, async (place) => {
        for (const newName of [name, `${name}.${id}`]) {
          if (!(await isLinked(place.path(name), target.path(newName)))) continue
          await unlink(place.path(name))
          await Promise.all([target.sync(), place.sync()])
          return newName
        }
        throw new CageError('CONFLICT', `${name} is in ${dir} twice already`)
      }),
    )
    await this.#folder.remove(parts)
    return join(dir, moved)
  }

  /** C2. Resolves with the dead owners' number of files. */
  async recover(now: number): Promise<number> {
    let files = 0
    for (const owner of await this.#folder.names(CLAIMS)) {
      if (owner === this.#owner) continue
      let touchedAt = 0
      await ifThere(this.#folder.within(CLAIMS, async (place) => (touchedAt = (await lstat(place.path(owner))).mtimeMs)))
      if (isAlive(owner, touchedAt, now)) continue
      files += await this.#giveUp(owner)
      await this.#discard(owner)
    }
    return files
  }

  async touch(): Promise<void> {
    const now = new Date()
    await this.#folder.within(this.#own, (place) => utimes(place.path(), now, now))
  }

  async close(): Promise<void> {
    await this.#discard(this.#owner)
  }

  get #own(): string[] {
    return [...CLAIMS, this.#owner]
  }

  async #giveUp(owner: string): Promise<number> {
    let files = 0
    for (const entry of await this.#folder.names([...CLAIMS, owner])) {
      const { id, attempt, failures } = parse(entry)
      const next = `${id}~${attempt + 1}~${failures + 1}~${Date.now()}`
      if (await this.#rename([...CLAIMS, owner, entry], [...WAITING, next])) files++
    }
    return files
  }

  /** If it is empty. */
  async #discard(owner: string): Promise<void> {
    await ifThere(
      this.#folder.within(CLAIMS, async (place) => {
        if ((await readdir(place.path(owner))).length === 0) await rmdir(place.path(owner))
      }),
    )
  }

  async #rename(from: readonly string[], to: readonly string[]): Promise<boolean> {
    return await this.#folder.beside(from, (source, name) =>
      this.#folder.beside(to, async (target, newName) => {
        if (!(await ifThere(rename(source.path(name), target.path(newName))))) return false
        await Promise.all([source.sync(), target.sync()])
        return true
      }),
    )
  }
}

/** False if there is another file of that name. It may have been linked before, and not unlinked. */
async function isLinked(path: string, newPath: string): Promise<boolean> {
  try {
    await link(path, newPath)
    return true
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
    return (await lstat(newPath)).ino === (await lstat(path)).ino
  }
}

function entryOf({ id, attempt, failures }: Pick<Claim, 'id' | 'attempt' | 'failures'>): string {
  return `${id}~${attempt}~${failures}`
}

function parse(entry: string): { id: string; attempt: number; failures: number; dueAt: number } {
  const [id = '', attempt = '1', failures = '0', dueAt = '0'] = entry.split('~')
  return { id, attempt: Number(attempt), failures: Number(failures), dueAt: Number(dueAt) }
}
