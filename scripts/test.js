import { execSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

const run = (command) => execSync(command, { stdio: 'inherit' })
if (!existsSync('node_modules')) run('npm ci')
if (spawnSync('nats-server', ['-v']).error) run('apt-get update -q && apt-get install -y --no-install-recommends nats-server')
run('node node_modules/typescript/bin/tsc -p src/tsconfig.json')
const files = readdirSync('test', { recursive: true }).filter((file) => file.endsWith('.test.ts')).map((file) => `test/${file}`)
process.exitCode = spawnSync(process.execPath, ['--import', 'tsx', '--test', ...files], { stdio: 'inherit' }).status ?? 1
