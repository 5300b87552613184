/** The server of smsc.pl, as a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'

export interface PerlSmsc {
  readonly port: number
  /** What it has said. */
  readonly said: string[]
}

/** Starts it; it ends with its owner. */
export async function startPerlSmsc(owner: Owner): Promise<PerlSmsc> {
  const port = await freePort()
  const said: string[] = []
  const child = spawn('perl', [join(import.meta.dirname, 'smsc.pl'), String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  createInterface({ input: child.stdout }).on('line', (line) => said.push(line))
  const group = -(child.pid ?? 0) // its sessions have processes of their own
  const kill = (): void => {
    try {
      process.kill(group, 'SIGKILL')
    } catch {
      // all of them have ended
    }
  }
  process.once('exit', kill)
  atEnd(owner, async () => {
    const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
    kill()
    process.off('exit', kill)
    if (exited) await within('perl has ended', exited)
  })
  await eventually('Net::SMPP listens', () => said.includes('ready'))
  return { port, said }
}
