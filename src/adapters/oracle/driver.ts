/** What is used of the driver, so that a test can stand in for it: no Oracle server comes with the tests. node-oracledb 26, thin mode. */
import type oracledb from 'oracledb'

/** `oracledb` itself has it. */
export interface OracleDriver {
  getConnection(attributes: oracledb.ConnectionAttributes): Promise<DriverConnection>
}

/** What a statement has done. */
export interface DriverResult {
  rows?: unknown[] | undefined
  rowsAffected?: number | undefined
  outBinds?: unknown
}

export interface DriverConnection {
  /** One round trip may take so long, ms; 0: for ever. */
  callTimeout?: number | undefined
  /** Seen in v$session. */
  module?: string | undefined
  /** The name of the transaction that is open or comes next, for `outcome`; undefined where the service keeps no outcomes. */
  readonly ltxid?: Buffer | undefined
  execute(sql: string, binds: oracledb.BindParameters, options: oracledb.ExecuteOptions): Promise<DriverResult>
  executeMany(sql: string, binds: oracledb.BindParameters[], options: oracledb.ExecuteManyOptions): Promise<DriverResult>
  commit(): Promise<void>
  rollback(): Promise<void>
  /** Ends what runs: it rejects then. */
  break(): Promise<void>
  ping(): Promise<void>
  isHealthy(): boolean
  close(options?: { drop: boolean }): Promise<void>
}

/** A ref cursor. */
export interface DriverCursor {
  getRows(count?: number): Promise<unknown[]>
  close(): Promise<void>
}

/** A large object. */
export interface DriverLob {
  getData(): Promise<string | Buffer | null>
}
