// @ts-check
/** Schedules: what is called when, what came of it the last time. */
import { runSchedule } from './actions.js'
import { h } from './dom.js'
import { duration } from './format.js'
import { badge, button, empty, heading, since, table } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').ScheduleView} ScheduleView */

/** @param {App} app */
export function schedulesPage(app) {
  const { schedules } = app.overview
  /** @type {import('./parts.js').Column<ScheduleView>[]} */
  const columns = [
    { head: 'Schedule', cell: ({ cage, name }) => [name, h('span.place', null, cage)] },
    { head: 'Times', cell: ({ timing }) => h('code', null, timing) },
    { head: 'Calls', cell: ({ call, queue }) => [h('code', null, call), queue !== undefined && h('span.place', null, `by queue ${queue}`)] },
    { head: 'Next', number: true, cell: ({ next, running }) => (running ? badge('accent', 'running') : since(next === undefined ? undefined : Date.parse(next), app.now())) },
    { head: 'Last', number: true, cell: ({ last }) => since(last === undefined ? undefined : Date.parse(last.at), app.now()) },
    { head: 'Took', number: true, cell: ({ last }) => duration(last?.ms) },
    { head: 'Outcome', wide: true, cell: ({ last }) => last && [badge(toneOf(last.outcome), last.outcome), last.message !== undefined && h('span.clip', { title: last.message }, last.message)] },
  ]
  if (app.may) columns.push({ head: 'Actions', class: 'acts', cell: (schedule) => button('Run now', () => void runSchedule(app, schedule), { about: schedule.name }) })
  return [
    heading('Schedules'),
    schedules.length === 0 ? empty('There is no schedule', 'They are in a cage’s configuration') : table('Schedules', columns, schedules, ({ cage, name }) => `${cage} ${name}`),
  ]
}

/** @param {string} outcome */
function toneOf(outcome) {
  if (outcome === 'ok' || outcome === 'done' || outcome === 'enqueued') return 'good'
  return outcome === 'skipped' || outcome === 'missed' || outcome === 'running' ? 'warn' : 'error'
}
