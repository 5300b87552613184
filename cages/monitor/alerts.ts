/**
 * Alerts: takes notifications to people, as rules in a configuration say (`kind: 'notifications'`, docs/adapters/notifications.md): by e-mail, or
 * to a web server. Resources of this cage do the work: any number, by their names.
 */
import type { Context, EmailResource, HttpResource, Mail, Notification } from 'menagerie'

/** What a letter has beside the notification. */
export interface MailOptions {
  to: string | readonly string[]
  cc?: string | readonly string[]
  /** Default: the resource's. */
  from?: string
  /** In front of the subject. Default `menagerie`. */
  label?: string
}

export interface WebhookOptions {
  /** Below the resource's `url`. Default `/`. */
  path?: string
  headers?: Readonly<Record<string, string>>
  /** With it the body is `{ [textField]: '...' }`, as chats take it (`text`: Slack, Mattermost). Default: the whole notification. */
  textField?: string
}

/** Sends a notification as a letter, by a resource of kind `email`. */
export async function mail(ctx: Context, notification: Notification, resource: string, options: MailOptions): Promise<void> {
  const { to, cc, from, label = 'menagerie' } = options
  const text = textOf(notification)
  const letter: Mail = {
    to,
    subject: `[${label}] ${subjectOf(notification)}`,
    text,
    html: htmlOf(notification),
    id: idOf(ctx, notification),
  }
  if (cc !== undefined) letter.cc = cc
  if (from !== undefined) letter.from = from
  const server = ctx.resource(resource) as unknown as EmailResource // the rule names one of kind email
  await server.send(letter)
}

/** Posts a notification as JSON, by a resource of kind `http`. A repetition has the same Idempotency-Key. */
export async function webhook(ctx: Context, notification: Notification, resource: string, options: WebhookOptions = {}): Promise<void> {
  const { path = '/', headers = {}, textField } = options
  const body = textField === undefined ? notification : { [textField]: `${subjectOf(notification)}\n${textOf(notification)}` }
  const server = ctx.resource(resource) as unknown as HttpResource // the rule names one of kind http
  await server.post(path, body, { headers, idempotencyKey: idOf(ctx, notification) })
}

function idOf(ctx: Context, { seq }: Notification): string {
  return ctx.request.callId ?? `${ctx.request.id}-${seq}`
}

/** One line, and no longer than people read. */
function subjectOf({ level, cage, module, message, repeated }: Notification): string {
  const from = module === undefined ? cage : `${cage}.${module}`
  const times = repeated === undefined || repeated === 1 ? '' : ` (${repeated} times)`
  const line = `${level} ${from}: ${message}`.replace(/\s+/g, ' ')
  return `${line.length > 150 ? `${line.slice(0, 149)}…` : line}${times}`
}

function rowsOf({ level, cage, module, kind, node, at, request, repeated, message, seq }: Notification): [string, string][] {
  const rows: [string, unknown][] = [
    ['message', message],
    ['level', level],
    ['kind', kind],
    ['cage', cage],
    ['module', module],
    ['node', node],
    ['at', new Date(at).toISOString()],
    ['request', request],
    ['how many', repeated],
    ['number', seq],
  ]
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]))
}

function detailsOf({ details }: Notification): string {
  return details === undefined ? '' : JSON.stringify(details, null, 2)
}

function textOf(notification: Notification): string {
  const rows = rowsOf(notification).map(([name, value]) => `${`${name}:`.padEnd(10)} ${value}`)
  return [...rows, ...(notification.details === undefined ? [] : ['', detailsOf(notification)])].join('\n')
}

function htmlOf(notification: Notification): string {
  const rows = rowsOf(notification).map(([name, value]) => `<tr><th align="left">${name}</th><td>${escaped(value)}</td></tr>`)
  const details = notification.details === undefined ? '' : `<pre>${escaped(detailsOf(notification))}</pre>`
  return `<table>${rows.join('')}</table>${details}`
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}
