/** Real ActiveMQ brokers on free ports of loopback, each with data of its own, and a Java JMS client of them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'

const HOME = '/usr/share/activemq'
const HERE = join(import.meta.dirname, 'activemq')
const SLIM = ['-Xmx192m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Djava.awt.headless=true']

export interface ActiveMq {
  readonly port: number
  /** With user and password. */
  readonly url: string
  /** Of OpenWire, which Java's client speaks. */
  readonly openWireUrl: string
  /** SIGKILL. */
  kill(): Promise<void>
  /** Starts it again on its ports and data. */
  restart(): Promise<void>
  /** Stops and continues it: a broker that is there and does not answer. */
  freeze(): void
  thaw(): void
}

/** Starts a broker; it ends with its owner. */
export async function startActiveMq(owner: Owner): Promise<ActiveMq> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-activemq-'))
  const [port, openWire] = await Promise.all([freePort(), freePort()])
  const properties = {
    ...{ 'activemq.home': HOME, 'activemq.base': dir, 'activemq.conf': HERE, 'activemq.data': dir, 'java.io.tmpdir': dir },
    ...{ 'test.data': dir, 'test.stomp': port, 'test.openwire': openWire },
    'log4j2.configurationFile': join(HERE, 'log4j2.properties'),
  }
  const words = [
    ...[...SLIM, ...Object.entries(properties).map(([name, value]) => `-D${name}=${value}`)],
    ...['-jar', join(HOME, 'bin/activemq.jar'), 'start', `xbean:file:${join(HERE, 'activemq.xml')}`],
  ]
  let running: ChildProcess | undefined
  const kill = async (): Promise<void> => {
    const child = running
    running = undefined
    await end(child)
  }
  const launch = async (): Promise<void> => {
    const said: string[] = []
    const child = start('java', words, dir, said)
    running = child
    await eventually('the broker listens', async () => {
      if (child.exitCode !== null) throw new Error(`the broker has ended: ${said.slice(-10).join('\n')}`)
      return await isOpen(port)
    })
  }
  atEnd(owner, async () => {
    await kill()
    rmSync(dir, { recursive: true, force: true })
  })
  await launch()
  return {
    port,
    url: `stomp://app:secret@127.0.0.1:${port}`,
    openWireUrl: `tcp://127.0.0.1:${openWire}`,
    kill,
    async restart() {
      await kill()
      await launch()
    },
    freeze: () => void running?.kill('SIGSTOP'),
    thaw: () => void running?.kill('SIGCONT'),
  }
}

export interface JmsPeer {
  /** Gives it an order (JmsPeer.java). */
  say(line: string): void
  /** The next line that it tells, if it begins so. */
  told(beginning: string): Promise<string>
}

/** Starts a Java program that speaks JMS to the broker. */
export async function startJmsPeer(owner: Owner, { openWireUrl }: ActiveMq): Promise<JmsPeer> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-jms-'))
  const classes = [`${HOME}/lib/*`, '/usr/share/java/slf4j-nop.jar', '/usr/share/java/geronimo-jms-1.1-spec.jar'].join(':')
  const lines: string[] = []
  const child = start('java', [...SLIM, `-Djava.io.tmpdir=${dir}`, '-cp', classes, join(HERE, 'JmsPeer.java'), openWireUrl], dir, lines)
  atEnd(owner, async () => {
    await end(child)
    rmSync(dir, { recursive: true, force: true })
  })
  const told = async (beginning: string): Promise<string> =>
    await eventually(`the JMS client tells ${beginning}`, () => {
      if (child.exitCode !== null) throw new Error(`the JMS client has ended: ${lines.join('\n')}`)
      const index = lines.findIndex((line) => line.startsWith(beginning))
      return index < 0 ? undefined : lines.splice(index, 1)[0]
    })
  await told('READY')
  return { say: (line) => void child.stdin?.write(`${line}\n`), told }
}

function start(program: string, words: string[], cwd: string, said: string[]): ChildProcess {
  const child = spawn(program, words, { cwd, stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' } })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', (line) => said.push(line))
  return child
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await within('it has ended', exited)
}

/** Whether somebody listens. */
export async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return await new Promise((resolve) => {
    const tell = (open: boolean) => (): void => {
      socket.destroy()
      resolve(open)
    }
    socket.once('connect', tell(true)).once('error', tell(false))
  })
}
