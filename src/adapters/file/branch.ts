/**
 * Branch: what a transaction does to a folder. It lies in a folder of its own in ours, which moves on with it:
 *
 *     open  ->  prepared  ->  decided  ->  gone, and noted in `ended`
 *       `--------------------^
 *
 * B1. Nothing of it is seen before it is decided: new content waits beside, and its commit renames it to its name.
 * B2. The step to `decided` is the commit; whoever finds a decided branch carries it out. Each of its steps can be done again.
 * B3. What it removes is the very file that it has seen: it is held by a second name, so that no other file can be taken for it.
 * B4. Once it is prepared, its content is on the disk and its names were free to take: renaming is all that is left.
 * B5. A branch to be committed that is neither here nor noted as ended is told as an error: it is in another machine's folder, not done.
 */
import { randomUUID } from 'node:crypto'
import { constants as flags } from 'node:fs'
import { access, appendFile, link, lstat, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { CageError } from '../../errors.ts'
import type { Decision } from '../adapter.ts'
import { errnoOf } from './errors.ts'
import { type Folder, ifThere, type Place } from './folder.ts'
import { OWN } from './names.ts'

type State = 'open' | 'prepared' | 'decided'

/** Each can be done again. */
type Step = { put: string; as: string[] } | { drop: string[]; device: string; inode: string }

/** A new name, and where its content waits; undefined: it is removed. */
type Overlay = Map<string, string | undefined>

const PLAN = 'plan.json'
/** So many bytes of names of ended branches are kept, and the same once more. */
const ENDED_BYTES = 1_000_000
/** What is decided, and not carried out after so long, has nobody any more, ms. */
const FORSAKEN_MS = 10_000
/** What was begun so long ago is nobody's, ms. */
const OLD_MS = 86_400_000

export class Branch {
  readonly #folder: Folder
  readonly #id: string
  #steps: Step[] = []
  readonly #overlay: Overlay = new Map()
  #state: State = 'open'

  constructor(folder: Folder, id: string) {
    this.#folder = folder
    this.#id = id
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
    const isThere = await this.#folder.move(nameOf(this.#id), [OWN, this.#state], [OWN, to])
    if (!isThere) throw new CageError('CONFLICT', `branch ${this.#id} has been ended by somebody else`)
    this.#state = to
  }
}

/** Ends a prepared branch, whoever has prepared it. UNAVAILABLE: B5. */
export async function finish(folder: Folder, id: string, decision: Decision): Promise<void> {
  if (decision === 'rollback') return await folder.remove(ownParts('prepared', id))
  const isMoved = await folder.move(nameOf(id), [OWN, 'prepared'], [OWN, 'decided'])
  if (isMoved || (await folder.isThere(ownParts('decided', id)))) return await carryOut(folder, id, true)
  if (await isNoted(folder, id)) return
  throw new CageError('UNAVAILABLE', `branch ${id} is not in this folder: it is another machine's`)
}

/** Those whose names begin so. */
export async function prepared(folder: Folder, prefix: string): Promise<{ branch: string; ageMs: number }[]> {
  const found: { branch: string; ageMs: number }[] = []
  for (const { name, ageMs } of await aged(folder, 'prepared')) {
    const branch = name.replaceAll('~', '/')
    if (branch.startsWith(prefix)) found.push({ branch, ageMs })
  }
  return found
}

/** B2: carries out what a dead process has decided, and takes away what one has begun. */
export async function tidy(folder: Folder): Promise<void> {
  for (const { name, ageMs } of await aged(folder, 'decided')) {
    if (ageMs > FORSAKEN_MS) await carryOut(folder, name.replaceAll('~', '/'), true)
  }
  for (const { name, ageMs } of await aged(folder, 'open')) if (ageMs > OLD_MS) await folder.remove([OWN, 'open', name])
}

/** B2. Two may do it at once. */
async function carryOut(folder: Folder, id: string, isNoted: boolean): Promise<void> {
  const own = ownParts('decided', id)
  const steps = await planOf(folder, own)
  for (const step of steps ?? []) await ('put' in step ? put(folder, own, step) : drop(folder, step))
  if (isNoted) await note(folder, id)
  if (steps) await folder.remove(own)
}

/** Undefined if it has been carried out, and is gone. */
async function planOf(folder: Folder, own: string[]): Promise<Step[] | undefined> {
  let text = ''
  const isThere = await ifThere(folder.within(own, async (place) => (text = await readFile(place.path(PLAN), 'utf8'))))
  return isThere ? (JSON.parse(text) as Step[]) : undefined // as it was sealed
}

async function put(folder: Folder, own: string[], { put: staged, as: parts }: Extract<Step, { put: string }>): Promise<void> {
  const work = async (target: Place, name: string): Promise<void> => {
    const isDone = !(await ifThere(folder.within(own, (place) => rename(place.path(staged), target.path(name)))))
    if (isDone && (await folder.isThere([...own, staged]))) throw new CageError('UNAVAILABLE', `${parts.join('/')} has lost its folder`)
    await target.sync()
  }
  await folder.beside(parts, work, true)
}

/** B3. */
async function drop(folder: Folder, { drop: parts, device, inode }: Extract<Step, { drop: string[] }>): Promise<void> {
  await ifThere(
    folder.beside(parts, async (place, name) => {
      const { dev, ino } = await lstat(place.path(name), { bigint: true })
      if (String(dev) !== device || String(ino) !== inode) return // somebody has put another one there since
      await unlink(place.path(name))
      await place.sync()
    }),
  )
}

/** B5. */
async function note(folder: Folder, id: string): Promise<void> {
  await folder.within(
    [OWN, 'ended'],
    async (place) => {
      const file = await open(place.path('now'), flags.O_WRONLY | flags.O_CREAT | flags.O_APPEND | flags.O_NOFOLLOW, 0o640)
      try {
        await appendFile(file, `${id}\n`)
        await file.sync()
        if ((await file.stat()).size > ENDED_BYTES) await ifThere(rename(place.path('now'), place.path('before')))
      } finally {
        await file.close()
      }
    },
    true,
  )
}

async function isNoted(folder: Folder, id: string): Promise<boolean> {
  return await folder.within(
    [OWN, 'ended'],
    async (place) => {
      for (const name of ['now', 'before']) {
        const text = await readFile(place.path(name), 'utf8').catch((error: unknown) => {
          if (errnoOf(error) === 'ENOENT') return ''
          throw error
        })
        if (text.split('\n').includes(id)) return true
      }
      return false
    },
    true,
  )
}

/** What lies in a state's folder, and since when. */
async function aged(folder: Folder, state: State): Promise<{ name: string; ageMs: number }[]> {
  const found: { name: string; ageMs: number }[] = []
  for (const name of await folder.names([OWN, state])) {
    await ifThere(
      folder.within([OWN, state], async (place) => {
        found.push({ name, ageMs: Date.now() - (await lstat(place.path(name))).mtimeMs })
      }),
    )
  }
  return found
}

async function linkFile(from: string, to: string): Promise<void> {
  const seen = await lstat(from)
  if (!seen.isFile()) throw new CageError('INVALID_ARGUMENT', seen.isDirectory() ? 'it is a folder' : 'it is no file')
  await link(from, to)
}

function ownParts(state: State, id: string): string[] {
  return [OWN, state, nameOf(id)]
}

/** Ids have no `~`. */
function nameOf(id: string): string {
  return id.replaceAll('/', '~')
}
