/** What a module sees of an Oracle resource. Types only; users import them from 'menagerie'. */

/** A row, by its columns' names as Oracle has them: in capitals, unless the SQL quotes them. */
export type OracleRow = Record<string, unknown>

/** What is to come back from PL/SQL. `inout` gives a value besides. Default of `maxSize`, in bytes: 4,000, of `text` and `bytes` only. */
export type OutBind = { out: OutType; maxSize?: number } | { inout: Exclude<OutType, 'cursor'>; value: unknown; maxSize?: number }

/** `number` comes as text, with every digit; `cursor` as the rows of a ref cursor; `clob` and `blob` as text and bytes of any length. */
export type OutType = 'text' | 'number' | 'date' | 'bytes' | 'boolean' | 'clob' | 'blob' | 'cursor'

/** By position (:1, :2 ...) or by name (:name). */
export type Binds = readonly unknown[] | Readonly<Record<string, unknown>>

export type OracleIsolation = 'read committed' | 'serializable'

/** Default: read committed, and writing. */
export interface OracleTransactionOptions {
  isolation?: OracleIsolation
  readOnly?: boolean
}

/** What can be done in a transaction. */
export interface OracleSession {
  /** The rows of one statement; none of a statement that returns none. */
  execute<R = OracleRow>(sql: string, binds?: Binds): Promise<R[]>
  /** How many rows one statement has changed. */
  change(sql: string, binds?: Binds): Promise<number>
  /** Runs PL/SQL; resolves with what its OUT binds hold, by name (or, of a list of binds, in their order). */
  call<R = Record<string, unknown>>(
    plsql: string,
    binds?: Readonly<Record<string, unknown | OutBind>> | readonly (unknown | OutBind)[],
  ): Promise<R>
  /** One statement for many rows of binds, in one round trip, all or nothing; resolves with how many rows it has changed. */
  executeMany(sql: string, rows: readonly Binds[]): Promise<number>
  /** The rows of each statement, all or nothing. */
  batch(statements: readonly (string | readonly [sql: string, binds?: Binds])[]): Promise<OracleRow[][]>
}

/** An Oracle resource: `interface CageResources { erp: OracleResource }`. */
export interface OracleResource extends OracleSession {
  /** Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. */
  run<T>(work: (session: OracleSession) => Promise<T>, options?: OracleTransactionOptions): Promise<T>
}
