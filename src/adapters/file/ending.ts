/**
 * Ending: what becomes of branches (branch.ts), whoever has made them.
 * E1. What is decided is carried out by whoever finds it, be it several at once: each step can be done again.
 * E2. A branch to be committed that is neither here nor noted as ended is told as an error: it is in another machine's folder, and not done.
 */
import { constants as flags } from 'node:fs'
import { appendFile, lstat, open, readFile, rename, unlink } from 'node:fs/promises'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { Decision } from '../adapter.ts'
import { errnoOf } from './errors.ts'
import { type Folder, ifThere, type Place } from './folder.ts'
import { OWN } from './names.ts'

export type State = 'open' | 'prepared' | 'decided'

/** Each can be done again. */
export type Step = { put: string; as: string[] } | { drop: string[]; device: string; inode: string }

export const PLAN = 'plan.json'
/** So many bytes of names of ended branches are kept, and the same once more. */
const ENDED_BYTES = 1_000_000
/** What is decided, and not carried out after so long, has nobody any more, ms. */
const FORSAKEN_MS = 10_000
/** What was begun so long ago is nobody's, ms. */
const OLD_MS = 86_400_000

/** Ends a prepared branch, whoever has prepared it. UNAVAILABLE: E2. */
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

/** E1: carries out what a dead process has decided, and takes away what one has begun. What cannot be done is told, and tried again by the next. */
export async function tidy(folder: Folder, log: Log): Promise<void> {
  for (const { name, ageMs } of await aged(folder, 'decided')) {
    if (ageMs <= FORSAKEN_MS) continue
    await carryOut(folder, name.replaceAll('~', '/'), true).catch((error: unknown) => {
      log.error({ branch: name, ageMs, err: error }, 'a branch that is decided cannot be carried out')
    })
  }
  for (const { name, ageMs } of await aged(folder, 'open')) if (ageMs > OLD_MS) await folder.remove([OWN, 'open', name])
}

/** E1. Two may do it at once. */
export async function carryOut(folder: Folder, id: string, isNoted: boolean): Promise<void> {
  const own = ownParts('decided', id)
  const steps = await planOf(folder, own)
  for (const step of steps ?? []) await ('put' in step ? put(folder, own, step) : drop(folder, step))
  if (isNoted && steps) await note(folder, id)
  await folder.remove(own) // without a plan, it is what a death has left of one that was carried out, and noted
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

/** B3 of branch.ts. */
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

/** E2. */
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

export function ownParts(state: State, id: string): string[] {
  return [OWN, state, nameOf(id)]
}

/** A branch's folder. Ids have no `~`. */
export function nameOf(id: string): string {
  return id.replaceAll('/', '~')
}
