/** What a module sees of JMS: messages, and the resource. Types only; users import them from 'menagerie'. */

/**
 * A message, as a handler gets it after its body. Plain data: it crosses the bus.
 *
 *   export async function take(ctx: Context, body: string, { headers, redelivered }: JmsMessage): Promise<void> { ... }
 */
export interface JmsMessage {
  /** The broker's, unique. */
  readonly id: string
  readonly destination: string
  /** Text of a TextMessage, bytes of a BytesMessage. */
  readonly body: string | Uint8Array
  readonly correlationId?: string
  /** Where an answer is wanted. */
  readonly replyTo?: string
  /** It may have been given to somebody before. */
  readonly redelivered: boolean
  /** All headers and properties, as text. */
  readonly headers: Readonly<Record<string, string>>
}

/** How a message is sent. */
export interface SendOptions {
  /** Its properties. */
  readonly headers?: Readonly<Record<string, string | number | bigint | boolean>>
  /** Outlives the broker's death. Default: the resource's, which is true. */
  readonly persistent?: boolean
  /** Gone after so long, unless somebody has taken it. Default: never; of a request, what is left of the call's deadline. */
  readonly ttlMs?: number
  /** 0 to 9. Default: the broker's, which is 4. */
  readonly priority?: number
  readonly correlationId?: string
  readonly replyTo?: string
}

/** A message of a batch. */
export type JmsSend = readonly [destination: string, body: string | Uint8Array, options?: SendOptions]

/** A JMS resource: `interface CageResources { broker: JmsResource }`. */
export interface JmsResource {
  /** Resolves when the broker has it. */
  send(destination: string, body: string | Uint8Array, options?: SendOptions): Promise<void>
  /** Sends all of them or none. */
  batch(messages: readonly JmsSend[]): Promise<void>
  /** Sends, and resolves with the answer. */
  request(destination: string, body: string | Uint8Array, options?: Omit<SendOptions, 'correlationId' | 'replyTo'>): Promise<JmsMessage>
}
