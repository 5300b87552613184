/** Real NATS servers on free ports of loopback, and plain clients of them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type ConnectionOptions, connect, type Msg, type NatsConnection } from 'nats'
import { natsServerProgram } from '../bus/program.ts'
import { atEnd, type Owner } from './owner.ts'
import { freePort } from './port.ts'
import { within } from './wait.ts'

export interface NatsServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
  /** Starts it again on its port and data. */
  restart(): Promise<void>
  /** Stops and continues the process: a server that is there and does not answer. */
  pause(): void
  resume(): void
}

export interface NatsServerOptions {
  /** Lines of nats-server.conf. */
  config?: string
  port?: number
  /** Default: true. */
  jetStream?: boolean
  /** Where its streams lie. */
  storeDir?: string
  /** Bytes that they may take. */
  maxStore?: string
}

/** The program; it is installed where it is missing. */
export function natsServer(): Promise<string> {
  return natsServerProgram('.menagerie', (line) => process.stderr.write(`${line}\n`))
}

/** Starts a server with JetStream; it ends with its owner. */
export async function startNats(owner: Owner, options: NatsServerOptions = {}): Promise<NatsServer> {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-nats-'))
  const config = join(dir, 'nats.conf')
  const { storeDir = join(dir, 'data'), maxStore = '10GB' } = options
  const jetStream = options.jetStream === false ? '' : `jetstream { store_dir: ${JSON.stringify(storeDir)}, max_file_store: ${maxStore} }`
  writeFileSync(config, `${jetStream}\n${options.config ?? ''}\n`)
  let running = await launch(config, options.port ?? -1)
  const server: NatsServer = {
    get url() {
      return `nats://127.0.0.1:${running.port}`
    },
    get port() {
      return running.port
    },
    get pid() {
      return running.pid
    },
    kill: () => end(),
    restart: async () => {
      await end()
      running = await launch(config, running.port)
    },
    pause: () => void process.kill(running.pid, 'SIGSTOP'),
    resume: () => void process.kill(running.pid, 'SIGCONT'),
  }
  atEnd(owner, async () => {
    await end()
    rmSync(dir, { recursive: true, force: true })
  })
  return server

  async function end(): Promise<void> {
    running.kill()
    await running.gone
  }
}

/** Three servers that are one cluster. Index by index: their URLs, and what ends one. */
export async function startCluster(
  owner: Owner,
): Promise<{ servers: NatsServer[]; urls: string; named(name: string): NatsServer | undefined }> {
  const ports = await Promise.all(Array.from({ length: 6 }, () => freePort()))
  const routes = ports.slice(3).map((port) => `"nats://127.0.0.1:${port}"`)
  const servers = await Promise.all(
    routes.map((_, i) =>
      startNats(owner, {
        port: ports[i] ?? 0,
        config: `server_name: n${i}\ncluster { name: c, listen: "127.0.0.1:${ports[i + 3]}", routes: [${routes}] }`,
      }),
    ),
  )
  return { servers, urls: servers.map(({ url }) => url).join(','), named: (name) => servers[Number(name.slice(1))] }
}

/** A plain nats.js client, closed with its owner. */
export async function client(owner: Owner, url: string, options: ConnectionOptions = {}): Promise<NatsConnection> {
  const nc = await connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50, ...options })
  atEnd(owner, () => nc.close())
  return nc
}

/** What a foreign client sees of an answer. */
export interface Answer {
  /** `Nats-Service-Error-Code`, or 503 if nobody serves the subject. */
  status?: number
  /** The parsed JSON body. */
  body: unknown
  msg: Msg | undefined
}

/** Asks in JSON, as any NATS client does. */
export async function ask(nc: NatsConnection, subject: string, args: unknown = [], timeout = 10_000): Promise<Answer> {
  try {
    const msg = await nc.request(subject, JSON.stringify(args), { timeout })
    const status = msg.headers?.get('Nats-Service-Error-Code')
    const body: unknown = JSON.parse(msg.string() || 'null')
    return status ? { status: Number(status), body, msg } : { body, msg }
  } catch (error) {
    if (error instanceof Error && error.message === '503') return { status: 503, body: undefined, msg: undefined }
    throw error
  }
}

interface Running {
  pid: number
  port: number
  gone: Promise<unknown>
  kill(): void
}

async function launch(config: string, port: number): Promise<Running> {
  const child = spawn(await natsServer(), ['--config', config, '--addr', '127.0.0.1', '--port', String(port)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const gone = once(child, 'exit')
  const log: string[] = []
  const listening = new Promise<number>((resolve, reject) => {
    let found = port
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line)
      found = Number(/Listening for client connections on [^ ]*:(\d+)/.exec(line)?.[1] ?? found)
      if (line.includes('Server is ready')) resolve(found)
    })
    child.on('error', reject)
    void gone.then(() => reject(new Error(`nats-server ended:\n${log.join('\n')}`)))
  })
  const ready = await within('nats-server is ready', listening)
  return {
    pid: child.pid ?? 0,
    port: ready,
    gone,
    kill: () => {
      child.kill('SIGCONT') // a paused process is not killed by everything
      child.kill('SIGKILL')
    },
  }
}
