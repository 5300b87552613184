/** Kannel (bearerbox and smsbox) as an ESME of a server on this machine: what is sent over its HTTP goes there, what comes from there goes to HTTP. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'

export interface Kannel {
  /** Has it send a short message; resolves once it has taken it. */
  send(fields: Record<string, string>): Promise<void>
  /** What it was sent, as the query of its callback: `from`, `text`, `coding`; receipts have a `type`. */
  readonly received: URLSearchParams[]
  /** Where `dlr-url` may point. */
  readonly callback: string
}

/** Starts it; it ends with its owner. It binds as `kannel` with the password `secret`. */
export async function startKannel(owner: Owner, smscPort: number): Promise<Kannel> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-kannel-'))
  mkdirSync(join(dir, 'spool'))
  const [adminPort, boxPort, sendPort, callbackPort] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  const received: URLSearchParams[] = []
  const web = createServer((request, response) => {
    received.push(new URL(request.url ?? '/', 'http://kannel').searchParams)
    response.end()
  }).listen(callbackPort, '127.0.0.1')
  await once(web, 'listening')
  const groups = [
    [
      'core',
      {
        'admin-port': adminPort,
        'admin-interface': '127.0.0.1',
        'admin-password': 'adm',
        'smsbox-port': boxPort,
        'smsbox-interface': '127.0.0.1',
      },
    ],
    ['smsc', { smsc: 'smpp', 'smsc-id': 'ours', host: '127.0.0.1', port: smscPort, 'transceiver-mode': 1, 'smsc-username': 'kannel' }],
    ['smsbox', { 'bearerbox-host': '127.0.0.1', 'sendsms-port': sendPort, 'sendsms-interface': '127.0.0.1', 'mo-recode': 'true' }],
    ['sendsms-user', { username: 'u', password: 'p', 'max-messages': 10, concatenation: 'true' }],
    [
      'sms-service',
      {
        keyword: 'default',
        'get-url': `"http://127.0.0.1:${callbackPort}/?from=%p&text=%b&coding=%c"`,
        'max-messages': 0,
        concatenation: 'true',
      },
    ],
  ] as const
  const more: Record<string, Record<string, string | number>> = {
    core: {
      'box-allow-ip': '127.0.0.1',
      'box-deny-ip': '"*.*.*.*"',
      'store-type': 'spool',
      'store-location': join(dir, 'spool'),
      'dlr-storage': 'internal',
    },
    smsc: {
      'smsc-password': 'secret',
      'system-type': '"VMA"',
      'interface-version': 34,
      'reconnect-delay': 1,
      'enquire-link-interval': 1,
      'msg-id-type': '0x01',
    },
  }
  const text = groups
    .map(([group, words]) =>
      Object.entries({ group, ...words, ...more[group] })
        .map(([name, value]) => `${name} = ${value}\n`)
        .join(''),
    )
    .join('\n')
  writeFileSync(join(dir, 'kannel.conf'), text)
  const children = [start('bearerbox', join(dir, 'kannel.conf'))]
  atEnd(owner, async () => {
    await Promise.all(children.map((child) => end(child)))
    web.closeAllConnections()
    web.close()
    rmSync(dir, { recursive: true, force: true })
  })
  await eventually('bearerbox listens', () => isOpen(boxPort)) // smsbox does not wait for it
  children.push(start('smsbox', join(dir, 'kannel.conf')))
  return {
    received,
    callback: `http://127.0.0.1:${callbackPort}/`,
    async send(fields) {
      const query = new URLSearchParams({ username: 'u', password: 'p', from: '1000', to: '+4912345', charset: 'UTF-8', ...fields })
      await eventually('Kannel takes it', async () => {
        const response = await fetch(`http://127.0.0.1:${sendPort}/cgi-bin/sendsms?${query}`).catch(() => undefined) // it may be starting
        return response?.status === 202
      })
    },
  }
}

function start(program: string, file: string): ChildProcess {
  const child = spawn(`/usr/sbin/${program}`, ['-v', '4', file], { stdio: 'ignore' })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return child
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const open = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  })
  socket.destroy()
  return open
}

/** It has nothing to lose. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await within('Kannel has ended', exited)
}
