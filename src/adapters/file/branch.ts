/**
 * Branch: what a transaction does to a folder. It lies in a folder of its own in ours, which moves on with it:
 *
 *     open  ->  prepared  ->  decided  ->  gone, and noted in `ended`
 *       `--------------------^
 *
 * B1. Nothing of it is seen before it is decided: new content waits beside, and its commit renames it to its name.
 * B2. The step to `decided` is the commit; whoever finds a decided branch carries it out (ending.ts).
 * B3. What it removes is the very file that it has seen: it is held by a second name, so that no other file can be taken for it.
 * B4. Once it is prepared, its content is on the disk and its names were free to take: renaming is all that is left.
 */
import { randomUUID } from 'node:crypto'
import { constants as flags } from 'node:fs'
import { access, link, lstat, stat } from 'node:fs/promises'
import { CageError } from '../../errors.ts'
import { carryOut, nameOf, ownParts, PLAN, type State, type Step } from './ending.ts'
import { errnoOf } from './errors.ts'
import { type Folder, ifThere } from './folder.ts'
import { OWN } from './names.ts'

/** A new name, and where its content waits; undefined: it is removed. */
type Overlay = Map<string, string | undefined>

export class Branch {
  readonly #folder: Folder
  readonly #id: string
  #steps: Step[] = []
  readonly #overlay: Overlay = new Map()
  #state: State = 'open'
  #mayBeDecided = false

  constructor(folder: Folder, id: string) {
    this.#folder = folder
    this.#id = id
  }

  /** Its step to where others can end it has been tried: whether it is decided, its folder alone knows. */
  get mayBeDecided(): boolean {
    return this.#mayBeDecided
  }

  /** Where its own content of this name lies; `gone` if it removes it; undefined if it has not touched it. */
  find(parts: readonly string[]): string[] | 'gone' | undefined {
    const name = parts.join('/')
    if (!this.#overlay.has(name)) return undefined
    const staged = this.#overlay.get(name)
    return staged === undefined ? 'gone' : [...this.#own, staged]
  }

  /** Names directly in a folder that it has touched, and whether they are there with it. */
  touched(folder: readonly string[]): Map<string, boolean> {
    const names = new Map<string, boolean>()
    for (const [name, staged] of this.#overlay) {
      const parts = name.split('/')
      if (parts.slice(0, -1).join('/') === folder.join('/')) names.set(parts.at(-1) ?? '', staged !== undefined)
    }
    return names
  }

  async write(parts: string[], bytes: Uint8Array, check: () => void): Promise<void> {
    const staged = randomUUID()
    await this.#folder.within(this.#own, (place) => this.#folder.create(place.path(staged), bytes, check), true)
    this.#put(parts, staged)
  }

  /** False if it is not there. */
  async remove(parts: string[]): Promise<boolean> {
    const seen = this.find(parts)
    if (seen === 'gone') return false
    const name = parts.join('/')
    if (seen) this.#steps = this.#steps.filter((step) => !('put' in step && step.as.join('/') === name)) // nobody has seen that
    const isThere = await this.#drop(parts)
    if (seen || isThere) this.#overlay.set(name, undefined)
    return isThere || seen !== undefined
  }

  /** NOT_FOUND. */
  async move(from: string[], to: string[]): Promise<void> {
    const seen = this.find(from)
    if (seen === 'gone') throw new CageError('NOT_FOUND', 'it is not there')
    const staged = randomUUID()
    await this.#folder.beside(seen ?? from, (source, name) =>
      this.#folder.within(this.#own, (place) => linkFile(source.path(name), place.path(staged)), true),
    )
    await this.remove(from)
    this.#put(to, staged)
  }

  /** B4. */
  async prepare(): Promise<void> {
    await this.#seal()
    await this.#move('prepared')
  }

  /** B2. */
  async commit(): Promise<void> {
    const wasPrepared = this.#state === 'prepared'
    if (!wasPrepared) await this.#seal()
    await this.#move('decided')
    await carryOut(this.#folder, this.#id, wasPrepared)
  }

  async rollback(): Promise<void> {
    await this.#folder.remove(this.#own)
  }

  get #own(): string[] {
    return ownParts(this.#state, this.#id)
  }

  #put(parts: string[], staged: string): void {
    this.#steps.push({ put: staged, as: parts })
    this.#overlay.set(parts.join('/'), staged)
  }

  /** B3. */
  async #drop(parts: string[]): Promise<boolean> {
    const held = randomUUID()
    return await ifThere(
      this.#folder.beside(parts, (source, name) =>
        this.#folder.within(
          this.#own,
          async (place) => {
            await linkFile(source.path(name), place.path(held))
            const { dev, ino } = await lstat(place.path(held), { bigint: true })
            this.#steps.push({ drop: parts, device: String(dev), inode: String(ino) })
          },
          true,
        ),
      ),
    )
  }

  /** B4. */
  async #seal(): Promise<void> {
    await this.#folder.within(
      this.#own,
      async (place) => {
        const { dev } = await stat(place.path(), { bigint: true })
        for (const step of this.#steps) if ('put' in step) await this.#check(step.as, dev)
        await this.#folder.create(place.path(PLAN), Buffer.from(JSON.stringify(this.#steps)), () => {})
        await place.sync()
      },
      true,
    )
  }

  async #check(parts: string[], device: bigint): Promise<void> {
    await this.#folder.beside(
      parts,
      async (place, name) => {
        await access(place.path(), flags.W_OK | flags.X_OK)
        if ((await stat(place.path(), { bigint: true })).dev !== device)
          throw new CageError('INVALID_ARGUMENT', `${parts.join('/')} is in another file system`)
        const there = await lstat(place.path(name)).catch((error: unknown) => {
          if (errnoOf(error) === 'ENOENT') return undefined
          throw error
        })
        if (there?.isDirectory()) throw new CageError('INVALID_ARGUMENT', `${parts.join('/')} is a folder`)
      },
      true,
    )
  }

  async #move(to: State): Promise<void> {
    this.#mayBeDecided = true
    const isThere = await this.#folder.move(nameOf(this.#id), [OWN, this.#state], [OWN, to])
    if (!isThere) throw new CageError('CONFLICT', `branch ${this.#id} has been ended by somebody else`)
    this.#state = to
  }
}

async function linkFile(from: string, to: string): Promise<void> {
  const seen = await lstat(from)
  if (!seen.isFile()) throw new CageError('INVALID_ARGUMENT', seen.isDirectory() ? 'it is a folder' : 'it is no file')
  await link(from, to)
}
