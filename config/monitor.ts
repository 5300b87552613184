import { defineCage } from 'menagerie'

export default defineCage({
  interfaces: {
    page: { kind: 'http', port: 8090, events: { 'GET /live': 'overview.next' }, handler: 'pages.serve', gzip: true },
    watch: { kind: 'schedule', everyMs: 5_000, call: 'watch.look', timeoutMs: 20_000 },
    keep: { kind: 'schedule', everyMs: 30_000, call: 'overview.keep', timeoutMs: 20_000 },
  },
  values: {
    /** Who may act: name → what `menagerie password` prints. Nobody: the monitor is read only. */
    users: {},
    /** Names, besides localhost, by which browsers may call it. */
    hosts: [],
  },
})
