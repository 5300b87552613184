import { defineCage, env } from 'menagerie'

export default defineCage({
  timeoutMs: 60_000,
  resources: {
    ledger: { kind: 'postgresql', url: env('LEDGER_URL'), tls: false, pool: { size: 16 } },
    nothing: { kind: 'void', pool: { size: 256 } },
  },
  queues: { sagas: { concurrency: 64 } },
})
