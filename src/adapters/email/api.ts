/** What a module sees of e-mail: letters that arrive, and the SMTP resource. Types only; users import them from 'menagerie'. */

/** `{ name: 'Ann', address: 'ann@shop.test' }`; `name` is empty if there is none. */
export interface MailAddress {
  name: string
  address: string
}

/** A message as it has arrived, decoded. */
export interface Letter {
  from: MailAddress[]
  to: MailAddress[]
  cc: MailAddress[]
  replyTo: MailAddress[]
  subject: string
  /** What the sender says; undefined if that is no date. */
  date: Date | undefined
  /** In angle brackets, which are added if it came without. The sender chooses it: it need not be unique. */
  messageId: string | undefined
  inReplyTo: string | undefined
  references: string[]
  /** Made of the HTML if there is nothing else. */
  text: string
  /** As it came, links to attachments (`cid:`) included: not safe to show. */
  html: string | undefined
  /** By name in small letters; each line of that name, unfolded, not decoded. */
  headers: Record<string, string[]>
  attachments: LetterAttachment[]
  /** Bytes of the whole message. */
  size: number
}

export interface LetterAttachment {
  /** What the sender calls it: never a path to write to. */
  filename: string | undefined
  contentType: string
  content: Uint8Array
  /** By what the HTML names it (`cid:`). */
  cid: string | undefined
  /** It belongs to the HTML. */
  inline: boolean
}

/** `ann@shop.test`, `Ann <ann@shop.test>`, several with commas, or the parts. */
export type Addresses = string | { name?: string; address: string } | readonly (string | { name?: string; address: string })[]

/** A message to send. */
export interface Mail {
  /** Default: the resource's. */
  from?: Addresses | undefined
  to?: Addresses | undefined
  cc?: Addresses | undefined
  /** Gets it too; the others do not see that. */
  bcc?: Addresses | undefined
  replyTo?: Addresses | undefined
  subject?: string | undefined
  text?: string | undefined
  html?: string | undefined
  attachments?: readonly MailAttachment[] | undefined
  /** Further forms of the text, e.g. a calendar entry. */
  alternatives?: readonly { contentType: string; content: string | Uint8Array }[] | undefined
  headers?: Readonly<Record<string, string | readonly string[]>> | undefined
  /** Default: now. */
  date?: Date | undefined
  inReplyTo?: string | undefined
  references?: readonly string[] | undefined
  /** Messages with the same id have the same Message-ID, e.g. `ctx.request.callId`: whoever gets one twice can tell. */
  id?: string | undefined
  /** The Message-ID itself, with angle brackets. */
  messageId?: string | undefined
  /** Who sends and gets it, instead of those in its head; an empty `from` wants no bounces. */
  envelope?: { from: string; to: readonly string[] } | undefined
  /** Sent to all recipients or to nobody. Default false: to those that the server takes. */
  everyRecipient?: boolean | undefined
}

export interface MailAttachment {
  filename?: string | undefined
  content: string | Uint8Array
  /** Default: by the filename. */
  contentType?: string | undefined
  /** The HTML shows it by `<img src="cid:...">`. */
  cid?: string | undefined
}

/** What the server has said. */
export interface Sent {
  messageId: string
  /** Each one's outcome, in order. At least one is accepted. */
  recipients: RecipientOutcome[]
  /** The server's answer to the message, often with its id in the queue there; undefined in a transaction, whose end it is. */
  response: string | undefined
}

/** `status` is the server's, e.g. 550; `temporary`: it may be accepted later. */
export type RecipientOutcome =
  | { address: string; accepted: true }
  | { address: string; accepted: false; status: number | undefined; temporary: boolean; response: string | undefined }

/** An SMTP resource: `interface CageResources { mail: EmailResource }`. */
export interface EmailResource {
  /** Hands the message to the server, which has taken it for the accepted recipients when this resolves. */
  send(mail: Mail): Promise<Sent>
}
