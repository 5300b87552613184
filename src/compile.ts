/**
 * Compile: one TypeScript or JavaScript file and what it imports by path → its exports, with no module cache in between.
 * K1. A version that is dropped leaves nothing behind: `vm.compileFunction` keeps no registry as `import()` does, and V8's cache is passed by.
 * K2. What has not changed is not compiled twice: results are kept on disk beside the inputs' times and sizes.
 * K3. Stack traces name the source's own lines (stack.ts).
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { compileFunction } from 'node:vm'
import type { BuildFailure, Message } from 'esbuild'
import { CageError } from './errors.ts'
import { rememberMap } from './stack.ts'

/** A compiled file. */
export interface Compiled {
  file: string
  code: string
  /** Source map, JSON. */
  map: string
  /** Every file that went into it, absolute, itself included. */
  inputs: string[]
  /** The file has no bytes: an editor empties it before it writes. */
  empty: boolean
}

interface Cached extends Compiled {
  format: number
  stamps: [mtimeMs: number, size: number][]
}

/** Raised when what is cached changes shape or the compiler its version. */
const CACHE_FORMAT = 2

/** Compiles a file; throws INVALID_ARGUMENT with every mistake as `file:line:column: text`. */
export async function compile(file: string, cacheDir: string): Promise<Compiled> {
  const cacheFile = join(cacheDir, `${createHash('sha1').update(file).digest('hex')}.json`)
  const cached = await readCache(cacheFile)
  if (cached) return cached
  const startedAt = Date.now()
  const compiled = await build(file)
  await writeCache(cacheFile, compiled, startedAt)
  return compiled
}

/** Runs a compiled file and returns its exports. `door` is what `import ... from 'menagerie'` gives it. */
export function evaluate(compiled: Compiled, door: object): Record<string, unknown> {
  const { file, code } = compiled
  rememberMap(compiled)
  const require = createRequire(file)
  const module = { exports: {} as Record<string, unknown> }
  const parameters = ['exports', 'module', 'require', '__filename', '__dirname', '__url']
  const run = compileOnce(code, parameters, file)
  run(
    module.exports,
    module,
    (name: string) => (name === 'menagerie' ? door : require(name)),
    file,
    dirname(file),
    pathToFileURL(file).href,
  )
  return module.exports
}

/** K1. In Node 24 V8 keeps what it has compiled until the heap is nearly full. It reads this flag at each compilation. */
function compileOnce(code: string, parameters: string[], filename: string): ReturnType<typeof compileFunction> {
  setFlagsFromString('--no-compilation-cache')
  try {
    return compileFunction(code, parameters, { filename })
  } finally {
    setFlagsFromString('--compilation-cache')
  }
}

async function build(file: string): Promise<Compiled> {
  const esbuild = await import('esbuild')
  try {
    const result = await esbuild.build({
      entryPoints: [file],
      absWorkingDir: dirname(file),
      outfile: join(dirname(file), 'out.js'), // never written: it only makes the map's paths relative to the file
      bundle: true,
      write: false,
      format: 'cjs',
      platform: 'node',
      target: 'node20.19',
      packages: 'external',
      sourcemap: 'external',
      metafile: true,
      logLevel: 'silent',
      tsconfigRaw: {},
      define: { 'import.meta.dirname': '__dirname', 'import.meta.filename': '__filename', 'import.meta.url': '__url' },
    })
    const [map, code] = result.outputFiles
    const inputs = Object.keys(result.metafile.inputs).map((input) => join(dirname(file), input))
    const empty = result.metafile.inputs[basename(file)]?.bytes === 0
    return { file, code: code?.text ?? '', map: map?.text ?? '{}', inputs, empty }
  } catch (cause) {
    const errors = (cause as Partial<BuildFailure>).errors
    if (!errors) throw cause
    throw new CageError('INVALID_ARGUMENT', errors.map((error) => describe(error, file)).join('\n'), { cause })
  }
}

function describe({ text, location }: Message, file: string): string {
  return location ? `${join(dirname(file), location.file)}:${location.line}:${location.column + 1}: ${text}` : `${basename(file)}: ${text}`
}

async function readCache(cacheFile: string): Promise<Compiled | undefined> {
  try {
    const cached = JSON.parse(await readFile(cacheFile, 'utf8')) as Cached
    if (cached.format !== CACHE_FORMAT) return undefined
    const stamps = await Promise.all(cached.inputs.map(stampOf))
    return stamps.every(([time, size], i) => time === cached.stamps[i]?.[0] && size === cached.stamps[i]?.[1]) ? cached : undefined
  } catch {
    return undefined // not there, half written or of deleted inputs: compile
  }
}

async function writeCache(cacheFile: string, compiled: Compiled, startedAt: number): Promise<void> {
  const cached: Cached = { ...compiled, format: CACHE_FORMAT, stamps: await Promise.all(compiled.inputs.map(stampOf)) }
  if (cached.stamps.some(([time]) => time >= startedAt)) return // saved while it was compiled: we may hold the older text
  const draft = `${cacheFile}.${process.pid}.${Math.random().toString(36).slice(2)}`
  try {
    await mkdir(dirname(cacheFile), { recursive: true })
    await writeFile(draft, JSON.stringify(cached))
    await rename(draft, cacheFile)
  } catch {
    // a read-only folder: the next start compiles again
  }
}

async function stampOf(file: string): Promise<[number, number]> {
  const { mtimeMs, size } = await stat(file)
  return [mtimeMs, size]
}
