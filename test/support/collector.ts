/** A collector of traces: an HTTP server that receives OTLP as JSON (opentelemetry-proto, trace.proto). */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'

/** A span as it was received; `parent` is empty for the first of a trace. */
export interface Received {
  service: string
  name: string
  kind: number
  trace: string
  id: string
  parent: string
  attributes: Record<string, string | number>
  /** 2 is an error. */
  status: { code?: number; message?: string }
}

export interface Collector {
  readonly url: string
  readonly spans: readonly Received[]
  /** Paths and headers of the requests. */
  readonly requests: readonly { path: string; headers: IncomingHttpHeaders }[]
  /** The one span that passes, once it has come. */
  span(what: string, test: (span: Received) => boolean): Promise<Received>
}

interface Attribute {
  key: string
  value: { stringValue?: string; intValue?: number | string; doubleValue?: number }
}

interface Wire extends Pick<Received, 'name' | 'kind' | 'status'> {
  traceId: string
  spanId: string
  parentSpanId?: string
  attributes: Attribute[]
}

interface Body {
  resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: Wire[] }[] }[]
}

/** Starts one; it ends with its owner. */
export async function startCollector(owner: Owner): Promise<Collector> {
  const spans: Received[] = []
  const requests: Collector['requests'][number][] = []
  const server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      requests.push({ path: request.url ?? '', headers: request.headers })
      spans.push(...received(JSON.parse(Buffer.concat(pieces).toString()) as Body))
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  atEnd(owner, () => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    requests,
    span: (what, test) => eventually(`a span: ${what}`, () => spans.find(test)),
  }
}

function received({ resourceSpans }: Body): Received[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(plain(resource.attributes)['service.name'])
    return scopeSpans.flatMap((scope) =>
      scope.spans.map(({ name, kind, status, traceId, spanId, parentSpanId = '', attributes }) => ({
        ...{ service, name, kind, status, trace: traceId, id: spanId, parent: parentSpanId, attributes: plain(attributes) },
      })),
    )
  })
}

function plain(attributes: Attribute[]): Record<string, string | number> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue ?? value.doubleValue)]))
}
