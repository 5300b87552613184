/** `npm run build`: `dist` from nothing. */
import { ensureBuild, ensureDependencies, step } from './setup.js'

await step(() => {
  ensureDependencies()
  ensureBuild({ clean: true })
})
