/**
 * Watcher: settled changes of files in some folders. A burst of events becomes one call with all its paths.
 * Y1. A change is told `SETTLE_MS` after the last event of its burst, however the editor saves (write, rename, delete and create).
 * Y2. No save is lost: chokidar tells one change of a file in 50 ms and drops the rest, so its raw events count too.
 */
import { join } from 'node:path'
import type { Log } from '../log.ts'

/** Short enough to be live at once, long enough for an editor's write-rename. */
const SETTLE_MS = 25

/** Deep enough for what modules import by path. */
const DEPTH = 6

/** Watches folders and files, existing or not, until closed. */
export async function watch(paths: string[], log: Log, onChange: (paths: Set<string>) => void): Promise<{ close(): Promise<void> }> {
  const { watch: chokidar } = await import('chokidar')
  let changed = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  const watcher = chokidar(paths, { ignoreInitial: true, depth: DEPTH, ignored: /[\\/](node_modules|\.(?!shared)[^\\/]+)$/ })
  watcher.on('all', (_event, path) => note(path))
  watcher.on('raw', (_event, path, details) => {
    const { watchedPath } = details as { watchedPath?: string } // its type says no more than unknown
    if (watchedPath) note(watchedPath, join(watchedPath, path ?? '')) // a file's own watch, or its folder's
  })
  watcher.on('error', (error) => log.error({ err: error }, 'watching for changes failed'))
  await new Promise<void>((resolve) => watcher.once('ready', () => resolve()))
  return {
    close: async () => {
      clearTimeout(timer)
      await watcher.close()
    },
  }

  function note(...found: string[]): void {
    for (const path of found) changed.add(path)
    clearTimeout(timer)
    timer = setTimeout(() => {
      const settled = changed
      changed = new Set()
      onChange(settled)
    }, SETTLE_MS)
  }
}
