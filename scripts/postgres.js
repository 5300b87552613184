/** The real PostgreSQL, for tests: found, or got from Debian. Plain JavaScript with Node's own modules only. */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { find, install, unpack } from './nats-server.js'

/** Below it, each version has a folder. */
const FOLDER = join('usr', 'lib', 'postgresql')

/**
 * The folder of `postgres` and `initdb`: POSTGRES_BIN, the PATH, Debian's folders with the newest version first, or what was unpacked under `dataDir`.
 * @param {string} dataDir
 * @returns {string | undefined}
 */
export function findPostgres(dataDir) {
  if (process.env.POSTGRES_BIN) return process.env.POSTGRES_BIN
  const onPath = find('postgres', [])
  const folders = ['/', join(dataDir, 'postgresql')].flatMap((root) => versions(join(root, FOLDER)))
  return [...(onPath === undefined ? [] : [dirname(onPath)]), ...folders].find((folder) => existsSync(join(folder, 'initdb')))
}

/**
 * Gets it from Debian: as root by apt-get, else by downloading the package and unpacking it under `dataDir`.
 * @param {string} dataDir
 * @param {(line: string) => void} say told each step
 */
export async function installPostgres(dataDir, say) {
  if (!find('apt-get', [])) throw new Error(byHand('this is not Debian'))
  try {
    if (process.getuid?.() === 0) await install('postgresql', say)
    else await unpack(await versioned(), join(dataDir, 'postgresql'), say)
  } catch (error) {
    throw new Error(byHand(error instanceof Error ? error.message : String(error)), { cause: error })
  }
  const found = findPostgres(dataDir)
  if (found === undefined || spawnSync(join(found, 'postgres'), ['--version']).status !== 0)
    throw new Error(byHand('what was installed does not run'))
}

/** postgresql-15 or whatever the package postgresql stands for. */
async function versioned() {
  const { stdout } = await promisify(execFile)('apt-cache', ['depends', 'postgresql'])
  const name = /postgresql-\d+/.exec(stdout)?.[0]
  if (name === undefined) throw new Error('apt-cache knows no postgresql')
  return name
}

function byHand(reason) {
  return [
    `the tests need PostgreSQL, which could not be installed (${reason}). Install it:`,
    '  Debian: apt-get install postgresql',
    '  macOS:  brew install postgresql@17',
    '  else:   name the folder of postgres and initdb in POSTGRES_BIN',
  ].join('\n')
}

function versions(folder) {
  if (!existsSync(folder)) return []
  const newestFirst = readdirSync(folder).sort((a, b) => Number(b) - Number(a))
  return newestFirst.map((version) => join(folder, version, 'bin'))
}
