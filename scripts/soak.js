/**
 * `npm run soak [-- WORD...]`: the scenarios of test/flows/{queue,transaction,saga}*.test.ts, {drain,reload,proof}.test.ts,
 * test/bus/queue/background.test.ts and test/bus/state.test.ts at full size, one after the other, or
 * those whose path has one of the words. What they have seen is printed beside each. About 30 minutes.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBuild, ensureDependencies, ensureNatsServer, ensureTestPeers, ROOT, step } from './setup.js'

const words = process.argv.slice(2)

await step(async () => {
  ensureDependencies()
  ensureBuild()
  await ensureNatsServer()
  await ensureTestPeers()
  const files = readdirSync(join(ROOT, 'test'), { recursive: true })
    .map((file) => join('test', String(file)))
    .filter((file) => /(flows.(queue|transaction|saga)[a-z-]*|flows.(drain|reload|proof)|queue.background|bus.state)\.test\.ts$/.test(file))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  if (files.length === 0) throw new Error(`no scenario's path has ${words.join(' or ')}`)
  const options = ['--import', 'tsx', '--test', '--test-reporter=spec', '--test-concurrency=1', '--test-timeout=1800000']
  const { status } = spawnSync(process.execPath, [...options, ...files], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, MENAGERIE_SOAK: '1' },
  })
  process.exit(status ?? 1)
})
