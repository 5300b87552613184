/**
 * The real nats-server: found, or got from Debian. Plain JavaScript with Node's own modules only, because `npm start` needs it
 * before anything is installed or built; the node itself uses it too.
 */
import { execFile, spawnSync } from 'node:child_process'
import { accessSync, constants, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * The program's path: NATS_SERVER, the PATH (and Debian's /usr/sbin), what was unpacked under `dataDir`; undefined if there is none.
 * @param {string} dataDir
 * @returns {string | undefined}
 */
export function findNatsServer(dataDir) {
  if (process.env.NATS_SERVER) return process.env.NATS_SERVER
  return find('nats-server', [join(dataDir, 'nats-server', 'usr', 'sbin')])
}

/**
 * Gets it from Debian: as root by apt-get, else by downloading the package and unpacking it under `dataDir`.
 * @param {string} dataDir
 * @param {(line: string) => void} say told each step
 * @returns {Promise<string>} the program's path
 * @throws {Error} with the command to run by hand, where this is not Debian or there is no network
 */
export async function installNatsServer(dataDir, say) {
  if (!find('apt-get', [])) throw new Error(byHand('this is not Debian'))
  try {
    if (process.getuid?.() === 0) await install('nats-server', say)
    else await unpack('nats-server', join(dataDir, 'nats-server'), say)
  } catch (error) {
    throw new Error(byHand(lastLine(error)), { cause: error })
  }
  const found = findNatsServer(dataDir)
  if (!found || spawnSync(found, ['--version']).status !== 0)
    throw new Error(byHand('the package nats-server was installed, but does not run'))
  return found
}

/**
 * A command's path in the PATH, /usr/sbin or `more`.
 * @param {string} command
 * @param {string[]} more
 * @returns {string | undefined}
 */
export function find(command, more) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', ...more].filter((folder) => folder !== '')
  const names = process.platform === 'win32' ? [`${command}.exe`, command] : [command]
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isExecutable)
}

/**
 * Installs Debian packages as root.
 * @param {string | string[]} names
 * @param {(line: string) => void} say
 */
export async function install(names, say) {
  const packages = [names].flat()
  say(`installing Debian's ${packages.length === 1 ? 'package' : 'packages'} ${packages.join(', ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (/** @type {string[]} */ ...words) =>
    run('apt-get', ['-q', '-o', 'Acquire::Retries=3', ...words], { env, maxBuffer: 2 ** 26 })
  const get = () => apt('install', '-y', '--no-install-recommends', ...packages)
  await get().catch(async () => {
    await apt('update') // a fresh image has no lists of packages
    await get()
  })
}

/**
 * Downloads a package with what apt knows, or with lists of its own, and unpacks it: needs no root.
 * @param {string} name
 * @param {string} folder
 * @param {(line: string) => void} say
 */
export async function unpack(name, folder, say) {
  say(`downloading Debian's package ${name} into ${folder}`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'lists', 'partial'), { recursive: true })
  const download = (/** @type {string[]} */ ...options) => run('apt-get', [...options, 'download', name], { cwd: folder })
  const own = ['-o', `Dir::State::Lists=${join(folder, 'lists')}`, '-o', `Dir::Cache=${folder}`, '-o', 'Debug::NoLocking=1']
  await download().catch(async () => {
    await run('apt-get', [...own, 'update'])
    await download(...own)
  })
  const file = readdirSync(folder).find((entry) => entry.endsWith('.deb'))
  if (!file) throw new Error(`apt-get downloaded no ${name}`)
  await run('dpkg', ['-x', join(folder, file), folder])
  rmSync(join(folder, file))
  rmSync(join(folder, 'lists'), { recursive: true, force: true })
}

function byHand(reason) {
  return [
    `nats-server is needed and could not be installed (${reason}). Install it, or name a bus with --bus:`,
    '  macOS:   brew install nats-server',
    '  Windows: winget install NATSAuthors.NATSServer',
    '  Docker:  docker run --rm -p 127.0.0.1:4222:4222 nats:2 -js',
    '  Debian:  apt-get install nats-server',
    '  else:    https://github.com/nats-io/nats-server/releases, and its path in NATS_SERVER',
  ].join('\n')
}

function lastLine(error) {
  const { stderr = '', message } = /** @type {Error & { stderr?: string }} */ (error)
  return stderr.trim().split('\n').at(-1) || message
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
