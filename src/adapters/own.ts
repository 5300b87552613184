/**
 * Adapters of the user's own: a file of the project, or a package, named by a configuration's `kind`; it exports `adapter`.
 * V1. The main thread loads it for its schemas, a cage's worker for its driver. Each does so once: a changed adapter comes with the next start.
 * V2. What is wrong with it is told with its place, as INVALID_ARGUMENT: it is a mistake in the configuration.
 *
 *   feed: { kind: 'adapters/feed.ts', url: '...' }                      // relative to the project's folder
 *   feed: { kind: '@example/menagerie-feed', url: '...' }               // a package that is installed there
 *   export const adapter = defineAdapter({ options: z.strictObject({ url: z.url() }), listen: async (options, host) => ... })
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { compile, evaluate } from '../compile.ts'
import { CageError } from '../errors.ts'
import type { Adapter, Driver, Drivers } from './adapter.ts'
import { DRIVERS } from './drivers.ts'

/** Where adapters of the user's own are, and what they are compiled with. */
export interface Project {
  dir: string
  cacheDir: string
  /** What `import ... from 'menagerie'` gives them. */
  door: object
}

/** Loads the adapter of a kind that is none of the runtime's (V1); undefined if the kind names no file, and no package that is there. */
export type LoadAdapter = (kind: string) => Promise<Adapter | undefined>

export function ownAdapters(project: Project): LoadAdapter {
  const loaded = new Map<string, Promise<Adapter | undefined>>()
  return (kind) => {
    const known = loaded.get(kind) ?? load(kind, project)
    loaded.set(kind, known)
    known.catch(() => loaded.delete(kind)) // it may be mended
    return known
  }
}

/** Every driver: the runtime's, and those of the user's own. */
export function allDrivers(loadOwn: LoadAdapter): Drivers {
  return { get: (kind) => DRIVERS.get(kind) ?? lazily(kind, loadOwn) }
}

function lazily(kind: string, loadOwn: LoadAdapter): Driver {
  const driver = async <Act extends 'listen' | 'open'>(act: Act): Promise<NonNullable<Adapter[Act]>> => {
    const found = (await loadOwn(kind))?.[act]
    if (!found) throw new CageError('INTERNAL', `there is no driver of ${kind}`)
    return found
  }
  return {
    listen: async (options, host) => (await driver('listen'))(options, host),
    open: async (options, host) => (await driver('open'))(options, host),
  }
}

async function load(kind: string, project: Project): Promise<Adapter | undefined> {
  const exports = await (/\.[cm]?[jt]s$/.test(kind) ? loadFile(kind, project) : loadPackage(kind, project))
  if (exports === undefined) return undefined
  const { adapter } = exports as { adapter?: Partial<Adapter> }
  const isWhole = (adapter?.listen && adapter.options) || (adapter?.open && adapter.resourceOptions)
  if (!isWhole)
    throw new CageError(
      'INVALID_ARGUMENT',
      `${kind} exports no adapter: export const adapter = defineAdapter({ options, listen }), or { resourceOptions, open }`,
    )
  return { ...adapter, kind }
}

async function loadFile(kind: string, { dir, cacheDir, door }: Project): Promise<object> {
  const file = resolve(dir, kind)
  if (!existsSync(file)) throw new CageError('INVALID_ARGUMENT', `there is no file ${file}`)
  try {
    return evaluate(await compile(file, cacheDir), door)
  } catch (cause) {
    throw new CageError('INVALID_ARGUMENT', `${kind}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause }) // V2
  }
}

async function loadPackage(kind: string, { dir }: Project): Promise<object | undefined> {
  let file: string
  try {
    file = createRequire(join(dir, 'package.json')).resolve(kind)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException // Node's
    if (code === 'MODULE_NOT_FOUND') return undefined
    const what = code === 'ERR_PACKAGE_PATH_NOT_EXPORTED' ? 'the package exports nothing for `require` or `default`' : message
    throw new CageError('INVALID_ARGUMENT', `${kind}: ${what}`, { cause }) // V2
  }
  if (!isAbsolute(file)) return undefined // a module of Node's own
  try {
    return (await import(pathToFileURL(file).href)) as object
  } catch (cause) {
    throw new CageError('INVALID_ARGUMENT', `${kind}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause }) // V2
  }
}
