/**
 * What stands for Oracle where none can be had: a driver whose server is a function, and a listener that speaks as much of TNS as it takes to refuse.
 * Oracle Net: packets CONNECT (1), REFUSE (4), REDIRECT (5).
 */
import { createServer, type Server, type Socket } from 'node:net'
import type oracledb from 'oracledb'
import type { DriverConnection, DriverResult, OracleDriver } from '../../src/adapters/oracle/driver.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'

/** A database of yours, with which the tests are run besides: `user/password@connectString`. */
export const ORACLE_URL: string | undefined = process.env.ORACLE_URL

/** One statement as the driver was given it. */
export interface Statement {
  sql: string
  binds: unknown
  options: oracledb.ExecuteOptions
}

/** What a statement does; undefined: nothing. `slow` runs until it is ended. */
export type Behaviour = (statement: Statement) => DriverResult | Error | 'slow' | undefined

export class FakeOracle implements OracleDriver {
  /** Statements, `commit`, `rollback`, `break`, `close`, in their order, without those that begin a session. */
  readonly said: string[] = []
  readonly statements: Statement[] = []
  readonly timeouts: (number | undefined)[] = []
  behaviour: Behaviour = () => undefined
  attributes: oracledb.ConnectionAttributes | undefined
  ltxid: Buffer | undefined
  up = true
  frozen = false
  /** A break comes when what it was meant for has ended: the next question is hit by it. */
  breaksLate = false
  readonly open = new Set<FakeConnection>()

  async getConnection(attributes: oracledb.ConnectionAttributes): Promise<DriverConnection> {
    this.attributes = attributes
    if (this.frozen) return await new Promise<never>(() => {})
    if (!this.up) throw oracleError('NJS-503', 'connection to host 127.0.0.1 port 1 could not be established.')
    if (attributes.password === 'wrong') throw oracleError('ORA-01017', 'invalid credential or not authorized; logon denied')
    const connection = new FakeConnection(this)
    this.open.add(connection)
    return connection
  }

  get running(): number {
    return [...this.open].filter(({ isRunning }) => isRunning).length
  }

  /** The server is gone, and what ran is lost. */
  stop(): void {
    this.up = false
    for (const connection of this.open) connection.lose()
  }
}

class FakeConnection implements DriverConnection {
  callTimeout = 0
  module = ''
  readonly #oracle: FakeOracle
  #end: ((error: Error) => void) | undefined
  #lost = false
  #isBroken = false

  constructor(oracle: FakeOracle) {
    this.#oracle = oracle
  }

  get ltxid(): Buffer | undefined {
    return this.#oracle.ltxid
  }

  get isRunning(): boolean {
    return this.#end !== undefined
  }

  async execute(sql: string, binds: unknown, options: oracledb.ExecuteOptions): Promise<DriverResult> {
    if (!/^alter session/.test(sql)) {
      this.#oracle.said.push(sql)
      this.#oracle.statements.push({ sql, binds, options })
      this.#oracle.timeouts.push(this.callTimeout)
    }
    return await this.#answer(() => this.#oracle.behaviour({ sql, binds, options }))
  }

  async executeMany(sql: string, binds: unknown, options: oracledb.ExecuteManyOptions): Promise<DriverResult> {
    return await this.execute(sql, binds, options)
  }

  async commit(): Promise<void> {
    this.#oracle.said.push('commit')
    await this.#answer(() => this.#oracle.behaviour({ sql: 'commit', binds: [], options: {} }))
  }

  async rollback(): Promise<void> {
    this.#oracle.said.push('rollback')
    await this.#answer(() => undefined)
  }

  async ping(): Promise<void> {
    await this.#answer(() => undefined)
  }

  async break(): Promise<void> {
    this.#oracle.said.push('break')
    if (this.#oracle.frozen) return
    if (this.#end && !this.#oracle.breaksLate) this.#end(cancelled())
    else this.#isBroken = true
    if (this.#oracle.breaksLate) this.#end?.(oracleError('ORA-00001', 'it has ended by itself'))
  }

  isHealthy(): boolean {
    return !this.#lost
  }

  async close(): Promise<void> {
    this.#oracle.said.push('close')
    this.#oracle.open.delete(this)
  }

  lose(): void {
    this.#lost = true
    this.#oracle.open.delete(this)
    this.#end?.(oracleError('NJS-500', 'connection to Oracle Database was closed or broken'))
  }

  async #answer(behave: () => ReturnType<Behaviour>): Promise<DriverResult> {
    await new Promise(setImmediate)
    if (this.#lost) throw oracleError('NJS-003', 'invalid or closed connection')
    if (this.#isBroken) {
      this.#isBroken = false
      throw cancelled()
    }
    const done = this.#oracle.frozen ? 'slow' : behave()
    if (done instanceof Error) throw done
    if (done !== 'slow') return done ?? {}
    try {
      return await new Promise<never>((_resolve, reject) => {
        this.#end = reject
      })
    } finally {
      this.#end = undefined
    }
  }
}

function cancelled(): Error {
  return oracleError('ORA-01013', 'user requested cancel of current operation')
}

/** As the driver makes them. */
export function oracleError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}\nHelp: https://docs.oracle.com/`), { code })
}

export interface FakeListener {
  readonly port: number
  /** What clients have asked for. */
  readonly asked: string[]
  readonly connections: () => number
}

/** A listener that does so with each client that asks for a service. */
export async function startTnsListener(owner: Owner, behave: (socket: Socket, nth: number) => void): Promise<FakeListener> {
  const asked: string[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const server: Server = createServer((socket) => {
    const nth = ++connections
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    let data = Buffer.alloc(0)
    socket.on('data', (more) => {
      data = Buffer.concat([data, more])
      if (data.length < 28 || data[4] !== CONNECT) return
      const [packet, length, offset] = [data.readUInt16BE(0), data.readUInt16BE(24), data.readUInt16BE(26)]
      if (packet >= offset + length) asked.push(data.toString('utf8', offset, offset + length))
      else if (data.length > packet + 10)
        asked.push(data.toString('utf8', packet + 10)) // long ones follow
      else return
      data = Buffer.alloc(0)
      behave(socket, nth)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  atEnd(owner, () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: (server.address() as { port: number }).port, asked, connections: () => connections }
}

const CONNECT = 1

/** REFUSE, because of an error of the database's. */
export function refusal(error: number): Buffer {
  const text = Buffer.from(`(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR=${error})(ERROR_STACK=(ERROR=(CODE=${error})(EMFI=4))))`)
  const head = Buffer.alloc(4)
  head[0] = 0x22
  head.writeUInt16BE(text.length, 2)
  return packet(4, Buffer.concat([head, text]))
}

/** REDIRECT to another port. */
export function redirection(port: number): Buffer {
  const text = Buffer.from(`(ADDRESS=(PROTOCOL=TCP)(HOST=127.0.0.1)(PORT=${port}))`)
  const head = Buffer.alloc(2)
  head.writeUInt16BE(text.length, 0)
  return packet(5, Buffer.concat([head, text]))
}

/** Any packet. */
export function packet(type: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt16BE(8 + body.length, 0)
  head[4] = type
  return Buffer.concat([head, body])
}
