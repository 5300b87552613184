/** Resident memory just after the first answer, and what methods cost. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, ROOT, residentMb, startNode, startPeer, stop, TEMP } from '../processes.js'
import { figure, median, table } from '../table.js'

/** Beside the one that is called. */
const SIZES = [
  { modules: 0, methods: 0, label: '1 method' },
  { modules: 10, methods: 100, label: '1,000 methods (10 modules)' },
  { modules: 100, methods: 100, label: '10,000 methods (100 modules)' },
]

export const title = 'memory after the first answer'
export const rounds = { full: 5, quick: 1 }

/** @param {import('../run.js').Run} run */
export async function measure({ url, answered, rounds, progress }) {
  const BENCH_HTTP_PORT = String(await freePort())
  const contestants = [
    { name: 'menagerie, cage sample', start: sample },
    ...SIZES.map((size) => ({ name: `menagerie, ${size.label}`, start: () => generated(size) })),
    { name: 'raw, 1 method', start: () => startPeer('raw', 'respond', url) },
    ...SIZES.map((size) => ({ name: `moleculer, ${size.label}`, start: () => startPeer('moleculer', 'respond', url, size) })),
  ]
  SIZES.forEach(generate)

  const results = Object.fromEntries(contestants.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const { name, start } of contestants) {
      const child = await start()
      const mb = residentMb(child.pid)
      await stop(child)
      if (round < 0) continue // fills the caches
      results[name].push(mb)
      progress(round, `${name}: ${figure(mb)} MB`)
    }
  }
  const rows = Object.entries(results).map(([name, mb]) => [name, figure(median(mb))])
  return table(['process', 'MB'], rows)

  async function sample() {
    const node = startNode('sample', url, { cagesDir: join(ROOT, 'cages'), env: { BENCH_HTTP_PORT } })
    await answered('sample.greeter.hello', ['World'])
    return node
  }

  async function generated({ modules, methods }) {
    const cage = cageOf({ modules, methods })
    const node = startNode(cage, url, { cagesDir: join(TEMP, 'cages') })
    await answered(`${cage}.target.hello`, ['World'])
    if (modules > 0) await answered(`${cage}.m${modules - 1}.f${methods - 1}`, ['World'])
    return node
  }
}

function cageOf({ modules, methods }) {
  return `generated${modules * methods}`
}

function generate({ modules, methods }) {
  const folder = join(TEMP, 'cages', cageOf({ modules, methods }))
  const method = (name, n) => `export async function ${name}(_ctx, name) {\n  return { greeting: \`Hello, \${name}!\`, n: ${n} }\n}\n`
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'target.js'), method('hello', 1))
  const text = Array.from({ length: methods }, (_, i) => method(`f${i}`, i)).join('\n')
  for (let m = 0; m < modules; m++) writeFileSync(join(folder, `m${m}.js`), text)
}
