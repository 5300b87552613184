// @ts-check
/** The stream of overviews. It comes back by itself: at once after a broken connection, then less and less often. */

/** @typedef {import('../lib/model.ts').Overview} Overview */

/** No overview for so long: the connection is dead, even if nothing says so. */
const SILENT_MS = 12_000
const LONGEST_WAIT_MS = 10_000

/**
 * @param {(overview: Overview) => void} onOverview
 * @param {(connected: boolean) => void} onConnection
 */
export function follow(onOverview, onConnection) {
  let failures = 0
  /** @type {EventSource | undefined} */
  let source
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer

  const open = () => {
    source = new EventSource('/live')
    source.addEventListener('overview', (event) => {
      failures = 0
      watch()
      onConnection(true)
      onOverview(JSON.parse(event.data))
    })
    source.addEventListener('error', again)
    watch()
  }
  const watch = () => {
    clearTimeout(timer)
    timer = setTimeout(again, SILENT_MS)
  }
  const again = () => {
    source?.close()
    clearTimeout(timer)
    onConnection(false)
    const waitMs = Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures++) * (0.75 + Math.random() / 2)
    timer = setTimeout(open, waitMs)
  }
  // Whoever comes back to this page wants to see it now.
  addEventListener('online', () => source?.readyState === EventSource.CLOSED && reopen())
  document.addEventListener('visibilitychange', () => !document.hidden && source?.readyState === EventSource.CLOSED && reopen())
  const reopen = () => {
    clearTimeout(timer)
    open()
  }
  open()
}
