/**
 * Watcher: settled changes of files in some folders. A burst of events becomes one call with all its paths.
 * Y1. A change is told `settleMs` after the last event of its burst, however the editor saves (write, rename, delete and create).
 */
import type { Log } from '../log.ts'

/** Short enough to be live at once, long enough for an editor's write-rename. */
const SETTLE_MS = 25

/** Watches folders and files, existing or not, until closed. */
export async function watch(paths: string[], log: Log, onChange: (paths: Set<string>) => void): Promise<{ close(): Promise<void> }> {
  const { watch: chokidar } = await import('chokidar')
  let changed = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  const watcher = chokidar(paths, {
    ignoreInitial: true,
    depth: 6,
    ignored: (path) =>
      /[\\/](node_modules|\.(?!shared)[^\\/]*)([\\/]|$)/.test(path.replace(/^.*?[\\/]\.shared/, '')) && !paths.includes(path),
  })
  watcher.on('all', (_event, path) => {
    changed.add(path)
    clearTimeout(timer)
    timer = setTimeout(() => {
      const settled = changed
      changed = new Set()
      onChange(settled)
    }, SETTLE_MS)
  })
  watcher.on('error', (error) => log.error({ err: error }, 'watching for changes failed'))
  await new Promise<void>((resolve) => watcher.once('ready', () => resolve()))
  return {
    close: async () => {
      clearTimeout(timer)
      await watcher.close()
    },
  }
}
