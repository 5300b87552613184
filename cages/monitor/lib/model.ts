/** What the page knows of the system: JSON of the monitor's API and of its live events. Types only. Times are epoch ms, durations ms, rates per second. */

/** Event `overview` of `GET /live`, every second or two; `GET /api/overview` gives the latest one. */
export interface Overview {
  at: number
  /** What is wrong, worst first. */
  problems: Problem[]
  cages: CageView[]
  queues: QueueView[]
  flows: FlowView[]
  schedules: ScheduleView[]
  counts: { nodes: number; copies: number; dead: number; incidents: number; openSagas: number; openTransactions: number }
  /** The newest few, newest first. */
  notifications: NotificationView[]
}

export interface Problem {
  severity: 'alert' | 'error' | 'warn'
  what: string
  /** Since when, if that is known. */
  since?: number | undefined
  /** Hash of the page that shows it: `#/cage/shop`, `#/dead/17`. */
  link: string
}

export interface CageView {
  cage: string
  copies: CopyView[]
  modules: ModuleView[]
}

export interface CopyView {
  id: string
  node: string
  host: string
  pid: number
  /** The module that alone runs here. */
  only?: string | undefined
  state: 'starting' | 'serving' | 'stopping' | 'gone'
  runtime: string
  nodeVersion: string
  startedAt: number
  restarts: number
  lastDeath?: { at: number; reason: string } | undefined
  /** Shares of a core and of the event loop's time, 0 to 1. */
  cpu: number
  utilization: number
  loopLagP99: number
  rss: number
  heapUsed: number
  heapLimit: number
  roundTripMs?: number | undefined
  reconnects: number
  server: string
  interfaces: { interface: string; kind: string; address?: string | undefined; error?: string | undefined }[]
  resources: ResourceView[]
}

export interface ResourceView {
  resource: string
  kind: string
  limit: number
  size: number
  busy: number
  waiting: number
  open: boolean
  retryAt?: number | undefined
  rate: number
  errorRate: number
  p50: number
  p99: number
  waitP99: number
}

export interface ModuleView {
  module: string
  /** Version hash → how many copies run it: more than one while a deploy is under way, or forgotten. */
  versions: Record<string, number>
  reloads: number
  broken?: string | undefined
  isolated: boolean
  running: number
  waiting: number
  refusedRate: number
  methods: MethodView[]
}

export interface MethodView {
  method: string
  rate: number
  errorRate: number
  /** Of the last minute. */
  p50: number
  p95: number
  p99: number
  max: number
  running: number
  requests: number
  errors: Record<string, number>
  lastError?: { at: number; code: string; message: string } | undefined
  /** Rates of the last minutes, oldest first, for a small chart. */
  spark: number[]
  errorSpark: number[]
}

/** `GET /api/history?name=cage.module.method&range=15m|24h`. */
export interface History {
  name: string
  stepMs: number
  /** Oldest first; null where nothing was seen. */
  points: ({ at: number; rate: number; errorRate: number; p50: number; p95: number; p99: number } | null)[]
}

export interface QueueView {
  queue: string
  mode: 'open' | 'paused' | 'draining'
  reason?: string | undefined
  waiting: number
  running: number
  delayed: number
  dead: number
  bytes: number
  oldestAt?: number | undefined
  /** Ended well, per second. */
  rate: number
  retriedRate: number
  spark: number[]
}

export interface FlowView {
  /** `interface sample.web`, `queue retry`, `sample.greeter`, `resource shop.ledger`. */
  from: string
  to: string
  rate: number
  errorRate: number
  p95: number
}

export interface ScheduleView {
  cage: string
  name: string
  timing: string
  call: string
  queue?: string | undefined
  /** ISO 8601, as everywhere with schedules. */
  next?: string | undefined
  last?: { tick?: string | undefined; at: string; outcome: string; message?: string | undefined; ms?: number | undefined } | undefined
  running: boolean
}

export interface NotificationView {
  seq: number
  level: 'info' | 'warn' | 'error' | 'alert'
  cage: string
  module?: string | undefined
  node?: string | undefined
  request?: string | undefined
  at: number
  message: string
  details?: unknown
}

/** `GET /api/dead?queue=&before=` (newest first, 100 a page), `GET /api/dead/17` with `args`. */
export interface DeadView {
  seq: number
  id: string
  queue: string
  target: string
  diedAt: number
  enqueuedAt?: number | undefined
  code: string
  message: string
  attempts: number
  failures: { at: number; attempt: number; code: string; message: string }[]
  args?: unknown[] | undefined
}

/** `GET /api/sagas`, `GET /api/sagas/<id>` with `timeline`. */
export interface SagaView {
  id: string
  cage: string
  method: string
  state: string
  at?: string | undefined
  begunAt: number
  changedAt: number
  error?: { code: string; message: string } | undefined
  timeline?: Moment[] | undefined
}

/** `GET /api/transactions`, `GET /api/transactions/<id>` with `timeline`. */
export interface TransactionView {
  id: string
  cage: string
  by: string
  /** Undefined: under way. */
  outcome?: string | undefined
  begunAt?: number | undefined
  endedAt?: number | undefined
  participants: { name: string; outcome: string }[]
  timeline?: Moment[] | undefined
}

/** `GET /api/incidents`: of transactions and of sagas. */
export interface IncidentView {
  kind: 'transaction' | 'saga'
  id: string
  cage: string
  at: number
  /** The participant, or the step. */
  part: string
  problem: string
  error: { code: string; message: string }
  attempts: { at: number; by: string; action: string; reason: string; error: string }[]
}

/** One line of a timeline; `GET /api/search?q=...` gives a list of them, oldest first, with everything that holds the text. */
export interface Moment {
  at: number
  /** How long it took. */
  ms?: number | undefined
  /** `call`, `resource`, `interface`, `enqueue`, `queue`, `dead`, `saga`, `transaction`, `notification`. */
  kind: string
  /** `shop.payment.charge`, `step charge done` ... */
  what: string
  where?: string | undefined
  code?: string | undefined
  note?: string | undefined
  link?: string | undefined
}

/**
 * `POST /api/act`, with the session's cookie and the header `x-menagerie: act`. Every action is recorded with who and why, as a notification.
 * Answers 200 `{ ok: true, told }`, 401 without a login, or an error `{ code, message }`.
 */
export type Act = { reason: string } & (
  | { act: 'dead.retry'; seq: number; args?: unknown[] | undefined }
  | { act: 'dead.drop'; seq: number }
  | { act: 'transaction.resolve' | 'saga.resolve'; id: string; action: 'retry' | 'done' | 'skip' | 'compensate' }
  | { act: 'queue.mode'; queue: string; mode: 'open' | 'paused' | 'draining' }
  | { act: 'schedule.run'; cage: string; name: string }
  | { act: 'log.level'; cage: string; module?: string | undefined; level: string; forMs: number }
)

/** `GET /api/session`, and the answer of `POST /api/login` `{ user, password }` (401 if it is wrong, 429 after too many). */
export interface Session {
  /** Undefined: nobody is logged in, and nobody may act. */
  user?: string | undefined
  /** Somebody is configured who can log in. */
  canLogIn: boolean
}
