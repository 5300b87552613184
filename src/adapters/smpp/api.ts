/** What a module sees of SMPP: the resource, and what the interfaces hand over and take. Types only; users import them from 'menagerie'. */
export type SmppCoding = 'gsm' | 'latin1' | 'ucs2' | 'binary'

/** udh8, udh16: a user data header with a reference of so many bits. sar: TLVs. payload: one message_payload. none: too long is refused. */
export type SmppSplit = 'udh8' | 'udh16' | 'sar' | 'payload' | 'none'

export interface SmppReceipt {
  /** As `submit` has told it, if the server tells the same both times. */
  messageId: string
  /** DELIVERED, EXPIRED, UNDELIVERABLE ... (5.2.28). */
  state: string
  /** Of the server or its network; text, as it came. */
  error?: string | undefined
  submitted?: number | undefined
  delivered?: number | undefined
  /** As they came: `2611240501`, in a time zone that the server does not tell. */
  submitDate?: string | undefined
  doneDate?: string | undefined
  /** How the message begins. */
  text?: string | undefined
  /** The network's own error: 1 ANSI-136, 2 IS-95, 3 GSM, and its number. */
  networkError?: { network: number; code: number } | undefined
}

/** Type of number and numbering plan (SMPP 3.4, 5.2.5 and 5.2.6). Text instead: `+4912345` is international, `12345` unknown, with letters alphanumeric. */
export interface SmppAddress {
  address: string
  ton: number
  npi: number
}

/** Optional parameters by their names in the specification, or by number: `{ user_message_reference: 7, '0x1400': Buffer.from('x') }`. */
export type SmppTlvs = Readonly<Record<string, number | string | Uint8Array>>

/** What is sent: a text, or bytes. */
export interface SmppMessage {
  to: string | SmppAddress
  from?: string | SmppAddress | undefined
  text?: string | undefined
  data?: Uint8Array | undefined
  /** Default: by content. */
  coding?: SmppCoding | undefined
  /** How a long message is cut. Default: the configuration's. */
  split?: SmppSplit | undefined
  /** A delivery receipt is wanted. Default: the configuration's. */
  receipt?: boolean | undefined
  /** Not delivered after so long, ms, or after the call's deadline. Default: the configuration's. */
  validity?: number | 'deadline' | undefined
  /** Delivered no sooner. */
  scheduleAt?: Date | undefined
  serviceType?: string | undefined
  priority?: number | undefined
  protocolId?: number | undefined
  replaceIfPresent?: boolean | undefined
  tlvs?: SmppTlvs | undefined
}

export interface SmppSubmitted {
  /** Of the first part; receipts name it. */
  messageId: string
  /** Of each part. */
  messageIds: string[]
  coding: SmppCoding
}

export interface SmppState {
  messageId: string
  /** ENROUTE, DELIVERED, EXPIRED ... (5.2.28) */
  state: string
  finalDate?: Date | undefined
  errorCode: number
}

/** An SMPP resource: `interface CageResources { sms: SmppResource }`. */
export interface SmppResource {
  /** Sends a message (submit_sm), in parts if it is long. */
  submit(message: SmppMessage): Promise<SmppSubmitted>
  /** Sends one to several (submit_multi), in one part; `refused` with their statuses. */
  submitMulti(message: Omit<SmppMessage, 'to'> & { to: readonly (string | SmppAddress)[] }): Promise<{
    messageId: string
    refused: { address: string; status: string }[]
  }>
  /** Sends a message as data_sm, in one part. */
  data(message: SmppMessage): Promise<SmppSubmitted>
  /** What has become of a message. `from` as it was sent. */
  query(messageId: string, from?: string | SmppAddress): Promise<SmppState>
  /** Has it not delivered. */
  cancel(messageId: string, addresses?: { from?: string | SmppAddress; to?: string | SmppAddress; serviceType?: string }): Promise<void>
  /** Another text instead, of one part. */
  replace(messageId: string, message: Omit<SmppMessage, 'to'>): Promise<void>
}

/** A message as an interface hands it over: of a phone (`esme`) or of an ESME (`smsc`). It has a text, or data that no text is known of. */
export interface SmppReceived {
  from: SmppAddress
  to: SmppAddress
  text?: string | undefined
  data?: Uint8Array | undefined
  dataCoding: number
  esmClass: number
  serviceType: string
  protocolId: number
  priority: number
  /** The sender wants a receipt. */
  receipt: boolean
  scheduleAt?: Date | undefined
  validUntil?: Date | undefined
  /** Of a server: it is a part, and of which message. */
  part?: { key: string; total: number; number: number } | undefined
  /** Numbers of the parts that never came. */
  missing?: number[] | undefined
  tlvs: Record<string, number | string | Uint8Array>
}

/** Who is bound to a server. */
export interface SmppPeer {
  systemId: string
  systemType: string
  bindAs: 'transmitter' | 'receiver' | 'transceiver'
  ip: string
}

/** What the method of `bind` is given; it returns nothing, or throws. */
export interface SmppBind extends SmppPeer {
  password: string
  addressRange: string
}

/** What the method of `submit` returns: the id, and a receipt that is sent at once. */
export interface SmppAccepted {
  messageId: string
  receipt?: { state: string; error?: string | undefined } | undefined
}

/** What the method of `outbox.settle` is told: the ESME has taken it, or not. */
export type SmppOutcome = { delivered: true } | { delivered: false; code: string; message: string; retryable: boolean; statusName?: string }

/** What the method of `outbox.fetch` returns, for one who is bound: a message, or a receipt of one. `id` is yours. */
export type SmppOutgoing = { id: string } & (
  | { message: SmppMessage }
  | { receipt: Pick<SmppReceipt, 'messageId' | 'state' | 'error' | 'text'> & { from: string | SmppAddress; to: string | SmppAddress } }
)
