/**
 * One measurement: the same loops around every contestant's call.
 * A cage bundles this file, so it uses only what Node has.
 */
import { readFileSync } from 'node:fs'

const TICK_US = 10_000 // of /proc/PID/stat: USER_HZ is 100 on every Linux that Node runs on

/**
 * @typedef {object} Plan
 * @property {number} concurrency calls in flight
 * @property {number} warmUpMs
 * @property {number} windowMs what is measured, after the warm-up
 * @property {number[]} pids processes beside the caller whose CPU is counted
 *
 * @typedef {object} Measured
 * @property {number} perSecond
 * @property {number[]} cpuUs per call: the caller's process, then `pids`
 * @property {number} errors failed calls and wrong answers
 * @property {number} p50 of a call, ms
 * @property {number} p99
 */

/**
 * Calls in `concurrency` loops.
 * @param {() => Promise<unknown>} call
 * @param {Plan} plan
 * @returns {Promise<Measured>}
 */
export async function load(call, { concurrency, warmUpMs, windowMs, pids }) {
  let calls = 0
  let errors = 0
  let over = false
  let durations = new Float64Array(1 << 16)
  const loop = async () => {
    while (!over) {
      const begun = performance.now()
      try {
        const answer = /** @type {{ greeting?: string }} */ (await call())
        if (answer?.greeting === 'Hello, World!') durations[calls++ % durations.length] = performance.now() - begun
        else errors++
      } catch {
        errors++
      }
    }
  }
  const loops = Array.from({ length: concurrency }, loop)
  await sleep(warmUpMs)
  const cpuBefore = pids.map(cpuUsOf)
  const ownBefore = process.cpuUsage()
  const startedAt = performance.now()
  calls = 0
  await sleep(windowMs)
  const counted = calls
  const elapsedMs = performance.now() - startedAt
  const own = process.cpuUsage(ownBefore)
  const others = pids.map((pid, i) => cpuUsOf(pid) - cpuBefore[i])
  over = true
  await Promise.all(loops)
  durations = durations.subarray(0, Math.min(counted, durations.length)).sort()
  return {
    perSecond: (counted / elapsedMs) * 1000,
    cpuUs: [own.user + own.system, ...others].map((us) => us / counted),
    errors,
    p50: durations[Math.floor(durations.length / 2)] ?? 0,
    p99: durations[Math.floor(durations.length * 0.99)] ?? 0,
  }
}

/**
 * Enqueues `calls` durable calls, `concurrency` at once, or one every `everyMs`.
 * @param {() => Promise<unknown>} one
 * @param {{ calls: number, concurrency: number, everyMs?: number }} plan
 * @returns {Promise<number>} how many were enqueued
 */
export async function enqueue(one, { calls, concurrency, everyMs }) {
  let left = calls
  const loop = async () => {
    while (left-- > 0) {
      await one()
      if (everyMs) await sleep(everyMs)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, loop))
  return calls
}

/**
 * CPU that a process used so far, all threads, µs; NaN where there is no /proc.
 * @param {number} pid
 */
export function cpuUsOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // proc(5): from the 3rd field on, `state`
    return (Number(fields[11]) + Number(fields[12])) * TICK_US // utime, stime
  } catch {
    return Number.NaN
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
