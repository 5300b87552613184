/**
 * The connection to NATS: how to reach it, and how to stay.
 * C1. A node that starts before its bus waits for it and says so.
 * C2. It reconnects for ever; a dead peer is noticed within 30 s (ping every 10 s, two may be missed).
 * C3. `connected` tells the truth at once, because nats.js silently drops what is published while it is away.
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  ErrorCode,
  Events,
  type NatsConnection,
  NatsError,
  nkeyAuthenticator,
  type TlsOptions,
} from 'nats'
import { CageError } from '../errors.ts'
import type { Log } from '../log.ts'
import { pause } from '../pause.ts'

/** How to reach the bus. Paths, not contents, for what lies in files. */
export interface BusOptions {
  /** `nats://host:port` or `tls://host:port`, with `user:password@` or `token@` if that is how it is protected. */
  servers: string[]
  user?: string | undefined
  password?: string | undefined
  token?: string | undefined
  /** File with an nkey seed (`SU...`). */
  nkeyFile?: string | undefined
  /** File with user credentials as nsc writes it (`.creds`). */
  credentialsFile?: string | undefined
  tls?: { caFile?: string | undefined; certFile?: string | undefined; keyFile?: string | undefined } | undefined
  /** Copies of each stream in a cluster of servers: 1, 3 or 5. Default: the server's, 1. */
  replicas?: number | undefined
}

/** A NATS connection with what nats.js does not tell by itself. */
export interface Connection {
  readonly nc: NatsConnection
  readonly connected: boolean
  readonly reconnects: number
  /** Resolves after close(), rejects if the connection ends for good by itself. */
  readonly done: Promise<void>
}

const WAIT_NOTICE_MS = 2_000

/** Connects, however long that takes; ends early only with `signal` or when the server refuses our credentials. */
export async function openConnection(name: string, options: BusOptions, log: Log, signal: AbortSignal): Promise<Connection> {
  const settings = connectionOptions(name, options)
  const servers = settings.servers as string[]
  const nc = await firstConnect(settings, log, signal, servers)
  log.debug({ server: nc.getServer(), version: nc.info?.version }, 'bus connected')
  const state = { nc, connected: true, reconnects: 0, done: ended(nc) }
  const onEnd = (): void => {
    state.connected = false
  }
  state.done.then(onEnd, onEnd) // whoever holds the bus hears of an error
  void follow(state, log)
  return state
}

/** nats.js options of ours; pure but for the credential files, which are read here. */
export function connectionOptions(name: string, options: BusOptions): ConnectionOptions {
  const parsed = options.servers.map(parseServer)
  const login = parsed.find((server) => server.user !== undefined)
  const result: ConnectionOptions = {
    name,
    servers: parsed.map((server) => server.address),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    reconnectJitterTLS: 250,
    pingInterval: 10_000,
    maxPingOut: 2,
    noAsyncTraces: true,
    ignoreAuthErrorAbort: true,
    timeout: 5_000,
  }
  const user = options.user ?? login?.user
  const password = options.password ?? login?.password
  const token = options.token ?? (password === undefined && options.user === undefined ? login?.user : undefined)
  if (token !== undefined) result.token = token
  else if (user !== undefined) Object.assign(result, { user, pass: password ?? '' })
  const authenticator = fileAuthenticator(options)
  if (authenticator) result.authenticator = authenticator
  if (options.tls || parsed.some((server) => server.tls)) result.tls = tlsOptions(options.tls ?? {}, parsed)
  return result
}

interface ServerAddress {
  address: string
  host: string
  tls: boolean
  user?: string
  password?: string
}

function parseServer(text: string): ServerAddress {
  const url = new URL(text.includes('://') ? text : `nats://${text}`)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const server = { address: `${url.hostname}:${url.port || 4222}`, host, tls: url.protocol === 'tls:' }
  if (url.username === '') return server
  const user = decodeURIComponent(url.username)
  return url.password === '' ? { ...server, user } : { ...server, user, password: decodeURIComponent(url.password) }
}

function fileAuthenticator(options: BusOptions): Authenticator | undefined {
  if (options.credentialsFile !== undefined) return credsAuthenticator(readFileSync(options.credentialsFile))
  if (options.nkeyFile !== undefined) return nkeyAuthenticator(new TextEncoder().encode(readFileSync(options.nkeyFile, 'utf8').trim()))
  return undefined
}

function tlsOptions(files: NonNullable<BusOptions['tls']>, servers: ServerAddress[]): TlsOptions {
  const tls: TlsOptions & { checkServerIdentity: typeof checkServerIdentity } = { checkServerIdentity: checkIdentity(servers) }
  if (files.caFile !== undefined) tls.caFile = files.caFile
  if (files.certFile !== undefined) tls.certFile = files.certFile
  if (files.keyFile !== undefined) tls.keyFile = files.keyFile
  return tls
}

/** Node takes a server that nats.js reached by its address for `localhost`: its certificate must be for one of our addresses instead. */
function checkIdentity(servers: ServerAddress[]): (name: string, certificate: PeerCertificate) => Error | undefined {
  const unnamed = servers.map(({ host }) => host).filter((host) => isIP(host) !== 0 || host === 'localhost')
  return (name, certificate) => {
    const errors = (name === 'localhost' ? unnamed : [name]).map((host) => checkServerIdentity(host, certificate))
    return errors.includes(undefined) ? undefined : (errors[0] ?? checkServerIdentity(name, certificate))
  }
}

/** Tries until it works (C1). Refused credentials are tried again too: they may be put right at the server. */
async function firstConnect(settings: ConnectionOptions, log: Log, signal: AbortSignal, servers: string[]): Promise<NatsConnection> {
  let nextNotice = Date.now() + WAIT_NOTICE_MS
  for (let first = true; ; first = false) {
    try {
      return await connect({ ...settings, reconnect: true, maxReconnectAttempts: -1, waitOnFirstConnect: false })
    } catch (error) {
      if (signal.aborted) throw new CageError('CANCELLED', 'stopped while waiting for the bus', { cause: error })
      const refused =
        error instanceof NatsError && [ErrorCode.AuthorizationViolation, ErrorCode.AuthenticationTimeout].includes(error.code as ErrorCode)
      if (first || Date.now() >= nextNotice) {
        nextNotice = Date.now() + 5 * WAIT_NOTICE_MS
        log.warn(
          { servers, reason: reason(error) },
          refused ? 'the bus refuses our credentials, trying again' : 'the bus is not there yet, waiting for it',
        )
      }
    }
    await pause(250, signal)
  }
}

function reason(error: unknown): string {
  if (!(error instanceof NatsError)) return String(error)
  const { message } = error.chainedError ?? error
  return message === error.code ? error.code : `${error.code}: ${message}`
}

async function follow(state: { nc: NatsConnection; connected: boolean; reconnects: number }, log: Log): Promise<void> {
  for await (const status of state.nc.status()) {
    if (status.type === Events.Disconnect) {
      state.connected = false
      log.warn({ server: status.data }, 'bus lost, calls fail until it is back')
    } else if (status.type === Events.Reconnect) {
      state.connected = true
      state.reconnects++
      log.info({ server: status.data }, 'bus is back')
    } else if (status.type === Events.Error) {
      log.error({ error: status.data, permission: status.permissionContext }, 'the bus refuses something')
    }
  }
}

async function ended(nc: NatsConnection): Promise<void> {
  const error = await nc.closed()
  if (error) throw new CageError('UNAVAILABLE', `the bus connection has ended: ${error.message}`, { cause: error })
}
