/** Servers of XML-RPC made of Python's own, each on a free port of loopback. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { within } from '../../src/testing/wait.ts'
import type { CertificateFiles } from './certificates.ts'
import { ROOT } from './node.ts'

export interface PythonServer {
  readonly port: number
  readonly url: string
  /** Of what it counts: calls that run now, clients that are connected, calls that it has had. */
  counts(): Promise<{ running: number; sessions: number; calls: number }>
  /** SIGKILL. */
  stop(): Promise<void>
  start(): Promise<void>
  freeze(): void
  thaw(): void
}

export interface PythonServerOptions {
  /** Keeps connections. Default: as Python does, HTTP/1.0, a connection for each call. */
  http11?: boolean
  /** `name:password`. */
  user?: string
  tls?: CertificateFiles
}

/** Starts a server; it ends with its owner. */
export async function startPython(owner: Owner, { http11 = false, user, tls }: PythonServerOptions = {}): Promise<PythonServer> {
  const port = await freePort()
  const words = [join(ROOT, 'test', 'support', 'xmlrpc_server.py'), '--port', String(port)]
  if (http11) words.push('--http11')
  if (user !== undefined) words.push('--user', user)
  if (tls) words.push('--tls', tls.cert, tls.key)
  let running: { child: ChildProcess; control: number } | undefined
  const server: PythonServer = {
    port,
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/RPC2`,
    async counts() {
      const socket = connect(running?.control ?? 0, '127.0.0.1')
      let text = ''
      for await (const chunk of socket) text += String(chunk)
      return JSON.parse(text)
    },
    async stop() {
      const { child } = running ?? {}
      running = undefined
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await within('the server has ended', exited)
    },
    async start() {
      await server.stop()
      running = await launch()
    },
    freeze: () => void running?.child.kill('SIGSTOP'),
    thaw: () => void running?.child.kill('SIGCONT'),
  }
  atEnd(owner, () => server.stop())
  running = await launch()
  return server

  async function launch(): Promise<{ child: ChildProcess; control: number }> {
    const child = spawn('python3', words, { stdio: ['pipe', 'pipe', 'inherit'] })
    const ready = new Promise<number>((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', (line) => resolve(Number(line.split(' ')[1])))
      child.once('exit', () => reject(new Error('the server has ended')))
    })
    return { child, control: await within('the server is ready', ready) }
  }
}
