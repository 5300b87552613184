/**
 * Folder: files below one folder, and no others.
 * D1. Every step from the folder down is taken from the step before, and follows no symbolic link: whatever others rename or link meanwhile,
 *     nothing outside is touched. (Through /proc/self/fd, as openat(2) does; elsewhere than on Linux the steps are checked, and then gone by name.)
 * D2. What was changed is on the disk before it is told: files and folders are synced.
 */
import { existsSync, constants as flags } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from './errors.ts'

/** A folder that is held open. */
export interface Place {
  /** Where a name in it lies: for Node's functions, while it is held. Without a name: itself. */
  path(name?: string): string
  /** D2. */
  sync(): Promise<void>
}

const HELD = existsSync('/proc/self/fd')
const FOLDER = flags.O_RDONLY | flags.O_DIRECTORY
/** A link is refused, and a pipe is not waited for. */
const FILE = flags.O_NOFOLLOW | flags.O_NONBLOCK

export class Folder {
  readonly root: string
  readonly #fileMode: number

  constructor(root: string, fileMode: number) {
    this.root = root
    this.#fileMode = fileMode
  }

  /** Holds the folder that these parts lead to while `work` runs; makes what is missing of it if `create`. */
  async within<T>(parts: readonly string[], work: (place: Place) => Promise<T>, create: boolean = false): Promise<T> {
    let handle = await open(this.root, FOLDER)
    let path = this.root
    try {
      for (const part of parts) {
        const next = pathIn(handle, path, part)
        if (create) await this.#make(next, handle)
        const before = handle
        handle = await open(next, FOLDER | flags.O_NOFOLLOW)
        path = join(path, part)
        await before.close()
      }
      const held = handle
      return await work({ path: (name) => pathIn(held, path, name), sync: () => held.sync() })
    } finally {
      await handle.close()
    }
  }

  /** As `within`, of the folder that the file is in. */
  async beside<T>(parts: readonly string[], work: (place: Place, name: string) => Promise<T>, create: boolean = false): Promise<T> {
    const name = parts.at(-1) ?? ''
    return await this.within(parts.slice(0, -1), (place) => work(place, name), create)
  }

  /** A new file with these bytes; `check` throws when nobody wants it any more. */
  async create(path: string, bytes: Uint8Array, check: () => void): Promise<void> {
    const handle = await open(path, flags.O_WRONLY | flags.O_CREAT | flags.O_EXCL | FILE, this.#fileMode)
    try {
      await writeAll(handle, bytes, check)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  /** Opens a file for reading, or `more`. */
  async open(path: string, more: number = flags.O_RDONLY): Promise<FileHandle> {
    return await open(path, more | FILE, this.#fileMode)
  }

  /** Names in a folder; none if it is not there. */
  async names(parts: readonly string[]): Promise<string[]> {
    try {
      return await this.within(parts, (place) => readdir(place.path()))
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return []
      throw error
    }
  }

  /** Moves what is called so from one folder to another; false if it is not there. */
  async move(name: string, from: readonly string[], to: readonly string[]): Promise<boolean> {
    return await this.within(
      from,
      (source) =>
        this.within(
          to,
          async (target) => {
            if (!(await ifThere(rename(source.path(name), target.path(name))))) return false
            await Promise.all([source.sync(), target.sync()])
            return true
          },
          true,
        ),
      true,
    )
  }

  async remove(parts: readonly string[]): Promise<void> {
    await this.beside(parts, (place, name) => rm(place.path(name), { recursive: true, force: true }), true)
  }

  async isThere(parts: readonly string[]): Promise<boolean> {
    return await ifThere(this.beside(parts, (place, name) => lstat(place.path(name))))
  }

  async #make(path: string, parent: FileHandle): Promise<void> {
    try {
      await mkdir(path, { mode: this.#fileMode | ((this.#fileMode & 0o444) >> 2) | 0o300 }) // who may read it may look into it
      await parent.sync()
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error
    }
  }
}

/** False if what it is about is not there. */
export async function ifThere(work: Promise<unknown>): Promise<boolean> {
  try {
    await work
    return true
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}

/** At least this much of a file is written at once. */
const CHUNK_BYTES = 1_048_576

async function writeAll(handle: FileHandle, bytes: Uint8Array, check: () => void): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    check()
    const { bytesWritten } = await handle.write(bytes, at, Math.min(CHUNK_BYTES, bytes.length - at))
    at += bytesWritten
  }
}

/** D1. */
function pathIn(handle: FileHandle, path: string, name?: string): string {
  const folder = HELD ? `/proc/self/fd/${handle.fd}` : path
  return name === undefined ? folder : `${folder}/${name}`
}
