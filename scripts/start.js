/** `npm start`: makes sure of everything, then is `node dist/node.js --cage sample`, with what follows `--` added. */
import { ensureBuild, ensureDependencies, ensureNatsServer, ROOT, step } from './setup.js'

const words = process.argv.slice(2)

await step(async () => {
  ensureDependencies()
  ensureBuild()
  if (!process.env.NATS_URL && !words.some((word) => word.startsWith('--bus'))) await ensureNatsServer()
})
process.chdir(ROOT)
process.argv.splice(2, Number.POSITIVE_INFINITY, '--cage', 'sample', ...words)
await import('../dist/node.js')
