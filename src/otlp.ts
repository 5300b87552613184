/**
 * Traces over OTLP/HTTP, by OpenTelemetry's own SDK: the only file that knows it, loaded only where a collector is configured.
 * P1. Nobody waits for the collector: spans are sent in batches, and when too many wait they are dropped.
 * P2. A collector that is away is told in the log, once a minute at most.
 * P3. Its environment variables hold (OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME); what the
 *     configuration says goes before them.
 */
import { type Context, DiagLogLevel, diag, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base'
import type { SpanKind as Kind, Tracer } from './actors/tracer.ts'
import type { CageError } from './errors.ts'
import type { Log } from './log.ts'
import { within } from './pause.ts'
import type { TracingSettings } from './settings.ts'
import { traceparentOf } from './traceparent.ts'

/** Who tells the spans. */
export interface Teller {
  readonly node: string
  readonly cage: string
  readonly version: string
}

const KINDS: Readonly<Record<Kind, SpanKind>> = {
  server: SpanKind.SERVER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
  client: SpanKind.CLIENT,
}
const COMPLAINT_MS = 60_000
/** Of an error. */
const LONGEST_MESSAGE = 500

/** `settings` undefined: as the environment says. */
export function openOtlp(settings: TracingSettings | undefined, { node, cage, version }: Teller, log: Log): Tracer {
  complainTo(log)
  const { endpoint, sampleRatio, headers } = settings ?? {}
  const own = {
    'service.name': cage,
    'service.namespace': 'menagerie',
    'service.version': version,
    'service.instance.id': `${node}/${cage}`,
  }
  const resource = defaultResource()
    .merge(resourceFromAttributes({ ...own, 'process.pid': process.pid }))
    .merge(detectResources({ detectors: [envDetector] }))
  const exporter = new OTLPTraceExporter({
    ...(endpoint !== undefined && { url: `${endpoint.replace(/\/$/, '')}/v1/traces` }),
    ...(headers && { headers }),
  })
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(exporter)],
    ...(sampleRatio !== undefined && { sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) }) }),
  })
  const tracer = provider.getTracer('menagerie', version)
  return {
    begin(name, kind, traceparent, attributes) {
      const span = tracer.startSpan(name, { kind: KINDS[kind], attributes }, contextOf(traceparent))
      const { traceId, spanId, traceFlags } = span.spanContext()
      return {
        traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
        end(error: CageError | undefined) {
          if (error) {
            span.setAttribute('error.type', error.code)
            span.setStatus({ code: SpanStatusCode.ERROR, message: `${error.code}: ${error.message.slice(0, LONGEST_MESSAGE)}` })
          }
          span.end()
        },
      }
    },
    async close(withinMs) {
      const sent = provider.shutdown().catch((error: unknown) => log.warn({ err: error }, 'the last traces could not be sent'))
      await within(withinMs, sent)
    },
  }
}

function contextOf(traceparent: string | undefined): Context {
  const [version, traceId = '', spanId = '', flags = ''] = traceparentOf(traceparent)?.split('-') ?? []
  if (version === undefined || version === 'ff') return ROOT_CONTEXT // W3C Trace Context, 3.2.2.1
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true })
}

/** P2. */
function complainTo(log: Log): void {
  let last = Number.NEGATIVE_INFINITY
  const complain = (message: string): void => {
    if (Date.now() - last < COMPLAINT_MS) return
    last = Date.now()
    log.warn({ reason: message.slice(0, LONGEST_MESSAGE) }, 'traces cannot be sent')
  }
  const nothing = (): void => {}
  diag.setLogger(
    { error: complain, warn: complain, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
}
