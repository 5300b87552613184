/** Tracing: whether traces are told to a collector. Where not, nothing of OpenTelemetry is loaded. */
import type { Tracer } from './actors/tracer.ts'
import type { Log } from './log.ts'
import type { Teller } from './otlp.ts'
import type { TracingSettings } from './settings.ts'

/** Undefined: nobody is to be told. The configuration goes before the environment. */
export async function openTracing(
  settings: TracingSettings | undefined,
  env: NodeJS.ProcessEnv,
  teller: Teller,
  log: Log,
): Promise<Tracer | undefined> {
  if (!isTold(settings, env)) return undefined
  const { openOtlp } = await import('./otlp.ts')
  return openOtlp(settings, teller, log)
}

/** OpenTelemetry's own words for where to, and for nowhere. Pure. */
export function isTold(settings: TracingSettings | undefined, env: NodeJS.ProcessEnv): boolean {
  if (env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER?.trim() === 'none') return false
  return Boolean(settings?.endpoint || env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT)
}
