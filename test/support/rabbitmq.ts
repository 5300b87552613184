/** A real RabbitMQ broker with its STOMP plugin, on free ports of loopback. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { isOpen } from './activemq.ts'

/** Starts a broker; it ends with its owner. The port mapper of Erlang is ours too: RabbitMQ would leave one behind. */
export async function startRabbitMq(owner: Owner): Promise<{ port: number; url: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-rabbitmq-'))
  const [port, amqp, epmd, dist] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  mkdirSync(join(dir, 'home'))
  writeFileSync(join(dir, 'enabled_plugins'), '[rabbitmq_stomp].\n')
  writeFileSync(
    join(dir, 'rabbitmq.conf'),
    `listeners.tcp.1 = 127.0.0.1:${amqp}\nstomp.listeners.tcp.1 = 127.0.0.1:${port}\nlog.console = true\nlog.file = false\n`,
  )
  const env = {
    ...{ PATH: process.env.PATH, LC_ALL: 'C.UTF-8', HOME: join(dir, 'home'), RABBITMQ_NODENAME: `test${port}@localhost` },
    ...{ RABBITMQ_MNESIA_BASE: join(dir, 'data'), RABBITMQ_LOG_BASE: join(dir, 'log'), RABBITMQ_CONF_ENV_FILE: '/dev/null' },
    ...{ RABBITMQ_CONFIG_FILE: join(dir, 'rabbitmq.conf'), RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins') },
    ...{ ERL_EPMD_PORT: String(epmd), ERL_EPMD_ADDRESS: '127.0.0.1', RABBITMQ_DIST_PORT: String(dist) },
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1} +S 1:1',
  }
  const said: string[] = []
  const run = (program: string, words: string[]): ChildProcess => {
    const child = spawn(program, words, { cwd: dir, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    const kill = (): void => {
      // the program and what it has started: a script, an emulator and its helpers
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL')
    }
    process.once('exit', kill)
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => said.push(String(text)))
    atEnd(owner, async () => {
      process.off('exit', kill)
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      kill()
      await within(`${program} has ended`, exited)
    })
    return child
  }
  atEnd(owner, () => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  run('epmd', ['-port', String(epmd), '-address', '127.0.0.1'])
  await eventually('the port mapper listens', () => isOpen(epmd))
  const broker = run('/usr/lib/rabbitmq/bin/rabbitmq-server', [])
  await eventually('the broker listens', async () => {
    if (broker.exitCode !== null) throw new Error(`the broker has ended: ${said.slice(-10).join('')}`)
    return await isOpen(port)
  })
  return { port, url: `stomp://guest:guest@127.0.0.1:${port}` }
}
