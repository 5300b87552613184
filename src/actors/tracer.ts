/** Tracer: spans as actors have them. Types only: src/otlp.ts makes them, where a collector is configured. */
import type { CageError } from '../errors.ts'

/** server, consumer: something came in. internal: a method ran. client: the world was called. */
export type SpanKind = 'server' | 'consumer' | 'internal' | 'client'

export type Attributes = Record<string, string | number>

export interface Span {
  /** For all that is done within it: W3C trace context. */
  readonly traceparent: string
  /** Once. Of an error its code and message are told. */
  end(error: CageError | undefined): void
}

export interface Tracer {
  /** Begins a span within the one that `traceparent` names, or a trace. Neither waits nor throws. */
  begin(name: string, kind: SpanKind, traceparent: string | undefined, attributes: Attributes): Span
  /** Sends what is left, for so long at most. Never rejects. */
  close(withinMs: number): Promise<void>
}
