/**
 * `npm test [-- WORD...]`: makes sure of everything, checks, and runs the tests, or those whose path has one of the words.
 * The runner's own closing lines are the last that it prints.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBuild, ensureDependencies, ensureNatsServer, ensureTestPeers, ROOT, run, step } from './setup.js'

const words = process.argv.slice(2)

await step(async () => {
  ensureDependencies()
  ensureBuild()
  await ensureNatsServer()
  await ensureTestPeers()
  if (words.length === 0) run(process.execPath, [join('scripts', 'check.js')])
  const files = readdirSync(join(ROOT, 'test'), { recursive: true })
    .map((file) => join('test', String(file)))
    .filter((file) => /\.test\.[jt]s$/.test(file) && (words.length === 0 || words.some((word) => file.includes(word))))
  if (files.length === 0) throw new Error(`no test's path has ${words.join(' or ')}`)
  run(process.execPath, ['--import', 'tsx', '--test', '--test-concurrency=2', '--test-timeout=240000', ...files.sort()])
})
