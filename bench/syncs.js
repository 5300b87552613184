/** Counts what a process writes through to its disk, by strace: how durable an acknowledgement is. */
import { spawn } from 'node:child_process'

/**
 * Begins to count the calls of fsync and its like in all threads of a process.
 * @param {number} pid
 * @returns {Promise<{ stop(): Promise<{ count: number, seconds: number }> }>}
 */
export async function syncs(pid) {
  const strace = spawn('strace', ['-f', '-e', 'trace=fsync,fdatasync,sync_file_range,msync', '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let text = ''
  await new Promise((resolve) => {
    strace.once('error', resolve) // not there: counts nothing, and says so by NaN
    strace.stderr.on('data', (data) => {
      text += data
      if (text.includes('attached')) resolve(undefined)
    })
  })
  const startedAt = performance.now()
  return {
    stop: async () => {
      const seconds = (performance.now() - startedAt) / 1000
      const ended = new Promise((resolve) => strace.once('close', resolve))
      strace.kill('SIGINT')
      await ended
      const count = text.includes('attached') ? (text.match(/(fsync|fdatasync|sync_file_range|msync)\(/g) ?? []).length : Number.NaN
      return { count, seconds }
    },
  }
}
