/** `npm run check`: format, lint, types, and that the generated index of the cages is current. */
import { join } from 'node:path'
import { ensureBuild, ensureDependencies, ROOT, run, step } from './setup.js'

const bin = (...path) => join(ROOT, 'node_modules', ...path)

await step(() => {
  ensureDependencies()
  ensureBuild()
  run(process.execPath, [bin('@biomejs', 'biome', 'bin', 'biome'), 'ci', '--error-on-warnings', '.'])
  for (const project of ['.', 'cages', 'cages/monitor/page'])
    run(process.execPath, [bin('typescript', 'bin', 'tsc'), '-p', join(project, 'tsconfig.json'), '--noEmit'])
  run(process.execPath, [join('dist', 'cli.js'), 'types', '--check'])
})
