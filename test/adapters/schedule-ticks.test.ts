import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scheduleOptions } from '../../src/adapters/schedule/options.ts'
import { claim, ended, firstRecord, isBusy, type ScheduleRecord } from '../../src/adapters/schedule/record.ts'
import { dueTicks, MAX_CAUGHT_UP, type Timing, ticksToFire, timetable } from '../../src/adapters/schedule/ticks.ts'

const BERLIN = 'Europe/Berlin'

test('schedule: an expression is read in its time zone, summer and winter', () => {
  assert.deepEqual(ticks({ cron: '0 3 * * *', timezone: BERLIN }, '2026-01-15T12:00Z', 1), ['2026-01-16T02:00:00.000Z'])
  assert.deepEqual(ticks({ cron: '0 3 * * *', timezone: BERLIN }, '2026-07-15T12:00Z', 1), ['2026-07-16T01:00:00.000Z'])
  assert.deepEqual(ticks({ cron: '0 3 * * *', timezone: 'America/Montevideo' }, '2026-07-15T12:00Z', 1), ['2026-07-16T06:00:00.000Z'])
  assert.deepEqual(ticks({ cron: '0 3 * * *', timezone: 'Asia/Kathmandu' }, '2026-07-15T12:00Z', 1), ['2026-07-15T21:15:00.000Z'])
  assert.deepEqual(ticks({ cron: '30 0 * * *', timezone: 'UTC' }, '2026-07-15T12:00Z', 1), ['2026-07-16T00:30:00.000Z'])
})

test('schedule: seconds, steps, lists, names, last days and weekdays', () => {
  assert.deepEqual(ticks({ cron: '*/20 * * * * *' }, '2026-01-01T00:00Z', 3), [
    '2026-01-01T00:00:20.000Z',
    '2026-01-01T00:00:40.000Z',
    '2026-01-01T00:01:00.000Z',
  ])
  assert.deepEqual(ticks({ cron: '0 12 * * MON,FRI' }, '2026-01-01T00:00Z', 2), ['2026-01-02T12:00:00.000Z', '2026-01-05T12:00:00.000Z'])
  assert.deepEqual(ticks({ cron: '0 0 L * *' }, '2026-01-15T00:00Z', 3), [
    '2026-01-31T00:00:00.000Z',
    '2026-02-28T00:00:00.000Z',
    '2026-03-31T00:00:00.000Z',
  ])
  assert.deepEqual(ticks({ cron: '@monthly' }, '2026-01-15T00:00Z', 1), ['2026-02-01T00:00:00.000Z'])
})

test('schedule: a 31st comes in months that have one, a 29 February in leap years', () => {
  assert.deepEqual(ticks({ cron: '0 0 31 * *' }, '2026-01-31T00:00Z', 2), ['2026-03-31T00:00:00.000Z', '2026-05-31T00:00:00.000Z'])
  assert.deepEqual(ticks({ cron: '0 0 29 2 *' }, '2026-01-01T00:00Z', 2), ['2028-02-29T00:00:00.000Z', '2032-02-29T00:00:00.000Z'])
})

test('schedule: a time that the clocks leave out comes at the end of the gap, once', () => {
  const table = { cron: '30 2 * * *', timezone: BERLIN }
  assert.deepEqual(ticks(table, '2026-03-28T12:00Z', 2), ['2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z'])
  assert.deepEqual(due(table, '2026-03-28T12:00Z', '2026-03-29T12:00Z'), ['2026-03-29T01:00:00.000Z'])
  assert.deepEqual(due({ cron: '0 * * * *', timezone: BERLIN }, '2026-03-28T23:30Z', '2026-03-29T02:30Z'), [
    '2026-03-29T00:00:00.000Z',
    '2026-03-29T01:00:00.000Z',
    '2026-03-29T02:00:00.000Z',
  ])
})

test('schedule: a time that the clocks have twice comes once, an hourly expression goes on through both', () => {
  const table = { cron: '30 2 * * *', timezone: BERLIN }
  assert.deepEqual(ticks(table, '2026-10-24T12:00Z', 2), ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z'])
  assert.deepEqual(due(table, '2026-10-24T12:00Z', '2026-10-25T12:00Z'), ['2026-10-25T00:30:00.000Z'])
  assert.deepEqual(due({ cron: '*/30 * * * *', timezone: BERLIN }, '2026-10-24T23:45Z', '2026-10-25T02:15Z'), [
    '2026-10-25T00:00:00.000Z',
    '2026-10-25T00:30:00.000Z',
    '2026-10-25T01:00:00.000Z',
    '2026-10-25T01:30:00.000Z',
    '2026-10-25T02:00:00.000Z',
  ])
})

test('schedule: every so many ms is counted from the epoch, the same for all copies', () => {
  assert.deepEqual(ticks({ everyMs: 90_000 }, '1970-01-01T00:00:01Z', 2), ['1970-01-01T00:01:30.000Z', '1970-01-01T00:03:00.000Z'])
  assert.deepEqual(ticks({ everyMs: 86_400_000 }, '2026-05-05T05:05Z', 1), ['2026-05-06T00:00:00.000Z'])
  assert.deepEqual(due({ everyMs: 1_000 }, '2026-01-01T00:00:00Z', '2026-01-01T00:00:02Z'), [
    '2026-01-01T00:00:01.000Z',
    '2026-01-01T00:00:02.000Z',
  ])
})

test('schedule: a moment comes once, by its offset or by the clocks of its time zone', () => {
  for (const at of ['2026-08-01T10:00Z', '2026-08-01T12:00:00+02:00', '2026-08-01T12:00']) {
    assert.deepEqual(ticks({ at, timezone: BERLIN }, '2026-01-01T00:00Z', 3), ['2026-08-01T10:00:00.000Z'], at)
    assert.deepEqual(due({ at, timezone: BERLIN }, '2020-01-01T00:00Z', '2030-01-01T00:00Z'), ['2026-08-01T10:00:00.000Z'], at)
  }
  assert.deepEqual(ticks({ at: '2026-08-01T10:00Z' }, '2026-08-01T10:00Z', 1), [])
})

test('schedule: due is what lies after the first moment and not after the second, of too many the latest', () => {
  const table = { cron: '* * * * *' }
  assert.deepEqual(due(table, '2026-01-01T00:00Z', '2026-01-01T00:02Z'), ['2026-01-01T00:01:00.000Z', '2026-01-01T00:02:00.000Z'])
  assert.deepEqual(due(table, '2026-01-01T00:02Z', '2026-01-01T00:02:59.999Z'), [])
  const many = due({ everyMs: 1_000 }, '2026-01-01T00:00Z', '2026-01-02T00:00Z')
  assert.equal(many.length, MAX_CAUGHT_UP)
  assert.equal(many.at(-1), '2026-01-02T00:00:00.000Z')
})

test('schedule: missed ticks are left out, or the latest or each is fired; what is due now always is', () => {
  const since = 1_000_000
  const missed = [700_000, 800_000, 900_000]
  const now = since + 5_000
  const all = [...missed, since + 4_000]
  assert.deepEqual(ticksToFire(all, 'skip', since, now), [since + 4_000])
  assert.deepEqual(ticksToFire(all, 'once', since, now), [900_000, since + 4_000])
  assert.deepEqual(ticksToFire(all, 'all', since, now), all)
  const held = [since + 1_000, since + 90_000] // a copy was there, and the bus was away
  assert.deepEqual(ticksToFire(held, 'skip', since, since + 100_000), [since + 90_000])
  assert.deepEqual(ticksToFire(held, 'once', since, since + 100_000), held)
})

test('schedule: a tick has one claim, and an older one comes too late', () => {
  const record: ScheduleRecord = { timing: 't', tick: 1_000, by: 'a' }
  const claimed = claim(record, 2_000, 'b', 5_000)
  assert.deepEqual(claimed, { kind: 'ours', record: { timing: 't', tick: 2_000, by: 'b', lease: undefined } })
  assert.equal(claim({ ...record, tick: 2_000, by: 'b' }, 2_000, 'a', 5_000).kind, 'taken')
  assert.equal(claim({ ...record, tick: 2_000, by: 'b' }, 2_000, 'b', 5_000).kind, 'ours', 'its answer was lost')
  assert.equal(claim({ ...record, tick: 3_000, by: 'b' }, 2_000, 'b', 5_000).kind, 'taken')
})

test('schedule: a running call keeps the next from starting until its lease ends', () => {
  const lease = { id: 'x', until: 10_000 }
  const record: ScheduleRecord = { timing: 't', tick: 1_000, by: 'a', lease }
  const next = { id: 'y', until: 20_000 }
  assert.equal(claim(record, 2_000, 'b', 9_999, next).kind, 'busy')
  assert.equal(claim(record, 2_000, 'b', 9_999).kind, 'ours', 'where calls may overlap')
  assert.equal(claim(record, 2_000, 'b', 10_000, next).kind, 'ours', 'its copy has died')
  const last = { tick: 'T', at: '2026-01-01T00:00:00.000Z', outcome: 'ok' }
  assert.equal(isBusy(ended(record, 'x', last), 5_000), false)
  assert.equal(isBusy(ended(record, 'another', last), 5_000), true)
  assert.deepEqual(ended({ ...record, last: { ...last, at: '2026-01-02T00:00:00.000Z' } }, 'x', last).last?.at, '2026-01-02T00:00:00.000Z')
})

test('schedule: another expression begins anew, the same one goes on', () => {
  const record: ScheduleRecord = { timing: 'old', tick: 1_000, by: 'a' }
  assert.equal(firstRecord(record, 'old', 9_000), record)
  assert.deepEqual(firstRecord(record, 'new', 9_000), { timing: 'new', tick: 9_000, by: '', lease: undefined, last: undefined })
})

test('schedule: wrong options are told with their place and what is wrong', () => {
  const call = 'reports.build'
  const wrong: [object, RegExp][] = [
    [{ call }, /^: exactly one of cron, everyMs and at is needed/],
    [{ call, cron: '* * * * *', everyMs: 1_000 }, /^: exactly one/],
    [{ call, cron: '61 * * * *' }, /^cron: invalid value for minute: 61/],
    [{ call, cron: '* * *' }, /^cron: invalid configuration format \('\* \* \*'\), exactly five, six, or seven/],
    [{ call, cron: '0 0 31 2 *' }, /^cron: the cron expression "0 0 31 2 \*" never comes/],
    [{ call, cron: '2026-01-01T00:00:00' }, /^cron: .* name it with at/],
    [{ call, at: 'tomorrow' }, /^at: "tomorrow" is no moment like/],
    [{ call, at: '2026-02-30T00:00Z' }, /^at: "2026-02-30T00:00Z" is no moment/],
    [{ call, at: '2026-02-01T25:00' }, /^at: /],
    [{ call, everyMs: 10 }, /^everyMs: /],
    [{ call, cron: '* * * * *', timezone: 'Mars/Olympus' }, /^timezone: "Mars\/Olympus" is no time zone like/],
    [{ call: 'build', cron: '* * * * *' }, /^call: "build" is neither module\.method/],
    [{ call, cron: '* * * * *', queue: 'a b' }, /^queue: "a b" is no name/],
    [{ call, cron: '* * * * *', missed: 'twice' }, /^missed: /],
    [{ call, cron: '* * * * *', expiresMs: 5 }, /^expiresMs: is for queued calls/],
    [{ call, cron: '* * * * *', queue: 'q', timeoutMs: 5 }, /^timeoutMs: is for direct calls/],
    [{ call, cron: '* * * * *', queue: 'q', overlap: false }, /^overlap: is for direct calls/],
  ]
  for (const [options, message] of wrong) {
    const { error } = scheduleOptions.safeParse(options)
    assert.match(error?.issues.map(({ path, message: text }) => `${path.join('.')}: ${text}`).join('\n') ?? 'none', message)
  }
  const { data } = scheduleOptions.safeParse({ call, cron: '0 3 * * *' })
  assert.deepEqual(data, { call, cron: '0 3 * * *', timezone: 'UTC', args: [], missed: 'skip' })
})

/** The next `n` ticks after a moment. */
function ticks(timing: Partial<Timing>, after: string, n: number): string[] {
  const table = timetable({ timezone: 'UTC', ...timing })
  const found: string[] = []
  for (let at = table.next(Date.parse(after)); at !== undefined && found.length < n; at = table.next(at))
    found.push(new Date(at).toISOString())
  return found
}

function due(timing: Partial<Timing>, after: string, upTo: string): string[] {
  return dueTicks(timetable({ timezone: 'UTC', ...timing }), Date.parse(after), Date.parse(upTo)).map((tick) =>
    new Date(tick).toISOString(),
  )
}
