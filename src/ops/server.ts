/**
 * Ops: the node's own HTTP endpoint, for those who run it: /metrics, /healthz, /readyz. It is in the main thread, which runs no user code.
 * Q1. A worker that is stuck holds nobody up: it has `ANSWER_MS`, and is left out.
 * Q2. A port that is taken is told and tried again; the node goes on meanwhile.
 * Q3. It is not for browsers: nothing is said of other origins, and nothing can be changed here.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { WorkerReport } from '../actors/report.ts'
import type { WorkerFacts } from '../actors/thread.ts'
import type { Log } from '../log.ts'
import { backOffMs, pause } from '../pause.ts'
import { familiesOf } from './families.ts'
import { type Answer, liveness, type NodeState, readiness } from './health.ts'
import { Metrics } from './metrics.ts'

/** Where it listens. */
export interface OpsAddress {
  host: string
  port: number
}

/** Who is asked. */
export interface OpsSource {
  state(): NodeState
  facts(): WorkerFacts[]
  reports(whole: boolean, withinMs: number): Promise<WorkerReport[]>
}

export interface Ops {
  close(): Promise<void>
}

/** A worker has so long, ms. */
const ANSWER_MS = 1_000
const BACK_OFF = { firstMs: 1_000, maxMs: 30_000 }

/** Listens from now on, or as soon as it can. */
export function openOps(address: OpsAddress, source: OpsSource, log: Log): Ops {
  const metrics = new Metrics(source.state().node)
  const reports = shared((whole: boolean) => source.reports(whole, ANSWER_MS))
  const server = createServer({ maxHeaderSize: 8_192, headersTimeout: 5_000, requestTimeout: 5_000, keepAliveTimeout: 5_000 })
  server.maxConnections = 100
  server.on('request', (request, response) => {
    answer(request, response).catch((error: unknown) => {
      log.warn({ err: error }, 'the ops endpoint could not answer')
      if (!response.headersSent) send(request, response, 500, 'text/plain', 'internal error\n')
    })
  })
  const stopping = new AbortController()
  const listening = keepListening(server, address, log, stopping.signal)
  return {
    close: async () => {
      stopping.abort()
      await listening
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
      metrics.close()
    },
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?')[0] ?? ''
    if (!PATHS.has(path)) return send(request, response, 404, 'text/plain', `there are ${[...PATHS].join(', ')}\n`)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD')
      return send(request, response, 405, 'text/plain', 'GET or HEAD\n')
    }
    if (path === '/healthz') return tell(request, response, liveness(source.state(), source.facts()))
    const told = await reports(path === '/metrics')
    if (path === '/readyz') return tell(request, response, readiness(source.state(), source.facts(), told))
    const text = await metrics.text(familiesOf(source.facts(), told, Date.now()))
    send(request, response, 200, metrics.contentType, text)
  }
}

const PATHS: ReadonlySet<string> = new Set(['/metrics', '/healthz', '/readyz'])

function tell(request: IncomingMessage, response: ServerResponse, { ok, body }: Answer): void {
  send(request, response, ok ? 200 : 503, 'application/json', `${JSON.stringify(body)}\n`)
}

function send(request: IncomingMessage, response: ServerResponse, status: number, type: string, text: string): void {
  const data = Buffer.from(text)
  response.writeHead(status, {
    'Content-Type': type.includes('charset') || type === 'application/json' ? type : `${type}; charset=utf-8`,
    'Content-Length': data.length,
    'Cache-Control': 'no-store',
    'Cross-Origin-Resource-Policy': 'same-origin', // Q3
    'X-Content-Type-Options': 'nosniff',
  })
  response.end(request.method === 'HEAD' ? undefined : data)
}

/** Q2. Resolves once it listens, or is not to any more. */
async function keepListening(server: Server, { host, port }: OpsAddress, log: Log, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    try {
      await listen(server, host, port)
      const { address, port: bound } = server.address() as AddressInfo // it listens on TCP
      server.on('error', (error) => log.warn({ err: error }, 'the ops endpoint has an error'))
      const url = `http://${address.includes(':') ? `[${address}]` : address}:${bound}`
      log.info({ url }, 'metrics and health are served')
      return
    } catch (error) {
      const delayMs = Math.round(backOffMs(++failures, BACK_OFF, Math.random()))
      const { code: reason } = error as NodeJS.ErrnoException
      const hint = reason === 'EADDRINUSE' ? 'another program has the port' : undefined
      log[failures === 1 ? 'warn' : 'debug']({ host, port, reason, hint, delayMs }, 'metrics and health cannot be served, trying again')
      await pause(delayMs, signal)
    }
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Those who ask at once get one answer. */
function shared<T>(ask: (whole: boolean) => Promise<T>): (whole: boolean) => Promise<T> {
  const asking = new Map<boolean, Promise<T>>()
  return (whole) => {
    const known = asking.get(whole)
    if (known !== undefined) return known
    const asked = ask(whole).finally(() => asking.delete(whole))
    asking.set(whole, asked)
    return asked
  }
}
