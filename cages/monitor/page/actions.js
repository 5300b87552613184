// @ts-check
/** What somebody who is logged in can do. Everything asks for a reason, which is recorded with the name. */
import { act, login, logout } from './api.js'
import { ask, mistakeInArguments } from './dialog.js'
import { h } from './dom.js'
import { json } from './format.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('./dialog.js').Field} Field */
/** @typedef {import('../lib/model.ts').Act} Act */
/** @typedef {import('../lib/model.ts').DeadView} DeadView */
/** @typedef {import('../lib/model.ts').IncidentView} IncidentView */
/** @typedef {'retry' | 'done' | 'skip' | 'compensate'} Order */

/** @type {Field} */
const REASON = { name: 'reason', label: 'Reason', hint: 'Recorded with your name, for those who look at this later' }

const ORDERS = {
  retry: { label: 'Retry', text: 'It is tried again.', danger: false },
  done: { label: 'Done', text: 'It is taken for done: somebody has made sure of that by hand.', danger: true },
  skip: { label: 'Skip', text: 'It is left as it is, and the rest goes on.', danger: true },
  compensate: { label: 'Compensate', text: 'All that was done is undone.', danger: true },
}

/** The orders of an incident with their labels. */
export const orders = /** @type {[Order, string][]} */ (Object.entries(ORDERS).map(([order, { label }]) => [order, label]))

/** @param {App} app */
export function logIn(app) {
  return ask({
    title: 'Log in',
    fields: [
      { name: 'user', label: 'Name', complete: 'username' },
      { name: 'password', label: 'Password', kind: 'password', complete: 'current-password' },
    ],
    yes: 'Log in',
    send: async ({ user = '', password = '' }) => {
      app.setSession(await login(user, password))
      app.tell(`Logged in as ${user}`)
    },
  })
}

/** @param {App} app */
export async function logOut(app) {
  await logout().catch((error) => app.tell(error.message))
  await app.renewSession()
}

/** @param {App} app @param {Pick<DeadView, 'seq' | 'target' | 'queue'>} letter */
export function retryDead(app, { seq, target, queue }) {
  return order(app, {
    title: `Retry ${target}`,
    text: `The call goes back into the queue ${queue} as it was.`,
    yes: 'Retry',
    make: (reason) => ({ act: 'dead.retry', reason, seq }),
    after: '#/dead',
  })
}

/** @param {App} app @param {DeadView} letter */
export function editDead(app, { seq, target, queue, args }) {
  return order(app, {
    title: `Edit and retry ${target}`,
    text: `The call goes back into the queue ${queue} with these arguments.`,
    fields: [{ name: 'args', label: 'Arguments, as JSON', kind: 'json', value: json(args ?? []), check: mistakeInArguments }],
    yes: 'Retry with these',
    make: (reason, values) => ({ act: 'dead.retry', reason, seq, args: JSON.parse(values.args ?? '[]') }),
    after: '#/dead',
  })
}

/** @param {App} app @param {Pick<DeadView, 'seq' | 'target'>} letter */
export function dropDead(app, { seq, target }) {
  return order(app, {
    title: `Drop ${target}?`,
    text: 'The call is thrown away with its arguments. This cannot be undone.',
    yes: 'Drop it',
    danger: true,
    make: (reason) => ({ act: 'dead.drop', reason, seq }),
    after: '#/dead',
  })
}

/** @param {App} app @param {Pick<IncidentView, 'kind' | 'id' | 'part'>} incident @param {Order} action */
export function resolveIncident(app, { kind, id, part }, action) {
  const { label, text, danger } = ORDERS[action]
  return order(app, {
    title: `${label}: ${part}`,
    text: h('p', null, text, ' ', h('code', null, `${kind} ${id}`)),
    yes: label,
    danger,
    make: (reason) => ({ act: kind === 'saga' ? 'saga.resolve' : 'transaction.resolve', reason, id, action }),
  })
}

/** @param {App} app @param {string} queue @param {'open' | 'paused' | 'draining'} mode */
export function setQueueMode(app, queue, mode) {
  const [label, text] = {
    open: ['Open', 'Calls are taken and run again.'],
    paused: ['Pause', 'Calls are still taken, but none is run until the queue is opened again.'],
    draining: ['Drain', 'No more calls are taken; those that wait are run.'],
  }[mode]
  return order(app, {
    title: `${label} queue ${queue}`,
    text,
    yes: label ?? mode,
    danger: mode !== 'open',
    make: (reason) => ({ act: 'queue.mode', reason, queue, mode }),
  })
}

/** @param {App} app @param {{ cage: string, name: string, call: string }} schedule */
export function runSchedule(app, { cage, name, call }) {
  return order(app, {
    title: `Run ${name} now`,
    text: h('p', null, 'It calls ', h('code', null, call), ' once, besides its times.'),
    yes: 'Run now',
    make: (reason) => ({ act: 'schedule.run', reason, cage, name }),
  })
}

/** @param {App} app @param {string} cage @param {string[]} modules */
export function setLogLevel(app, cage, modules) {
  return order(app, {
    title: `Log level of ${cage}`,
    fields: [
      {
        name: 'module',
        label: 'Module',
        kind: 'select',
        optional: true,
        options: [['', 'all of the cage'], ...modules.map((name) => /** @type {[string, string]} */ ([name, name]))],
      },
      {
        name: 'level',
        label: 'Level',
        kind: 'select',
        value: 'debug',
        options: ['trace', 'debug', 'info', 'warn', 'error'].map((level) => [level, level]),
      },
      {
        name: 'minutes',
        label: 'For',
        kind: 'select',
        value: '10',
        options: [
          ['1', '1 minute'],
          ['10', '10 minutes'],
          ['60', '1 hour'],
        ],
        hint: 'After that it is as configured again',
      },
    ],
    yes: 'Set',
    make: (reason, { module, level = 'info', minutes }) => ({
      act: 'log.level',
      reason,
      cage,
      ...(module ? { module } : {}),
      level,
      forMs: Number(minutes) * 60_000,
    }),
  })
}

/**
 * Asks for a reason, sends the act and tells what came of it.
 * @param {App} app
 * @param {{ title: string, text?: import('./dom.js').Child, fields?: Field[], yes: string, danger?: boolean, make: (reason: string, values: Record<string, string>) => Act, after?: string }} what
 */
function order(app, { title, text, fields = [], yes, danger = false, make, after }) {
  return ask({
    title,
    text: typeof text === 'string' ? h('p', null, text) : text,
    fields: [...fields, REASON],
    yes,
    danger,
    send: async (values) => {
      const { told } = await act(make((values.reason ?? '').trim(), values)).catch(async (error) => {
        if (error.status === 401) await app.renewSession()
        throw error
      })
      app.tell(typeof told === 'string' && told !== '' ? told : `${title.replace(/\?$/, '')}: done`)
      if (after !== undefined && location.hash.startsWith(`${after}/`))
        location.hash = after // which asks anew
      else app.reload()
    },
  })
}
