/** What a module sees of a PostgreSQL resource. Types only; users import them from 'menagerie'. */
import type { TransactionOptions } from './begin.ts'
import type { Parameters } from './parameters.ts'

export type { Isolation, TransactionOptions } from './begin.ts'

/** A row, by its columns' names. */
export type Row = Record<string, unknown>

/** What can be done in a transaction. */
export interface PostgresSession {
  /** The rows of one statement; none of a statement that returns none. */
  execute<R = Row>(sql: string, parameters?: Parameters): Promise<R[]>
  /** How many rows one statement has changed. */
  change(sql: string, parameters?: Parameters): Promise<number>
  /** The rows of each statement, all or nothing. */
  batch(statements: readonly (string | readonly [sql: string, parameters?: Parameters])[]): Promise<Row[][]>
  /** Inserts rows that all have the same columns, in one statement; resolves with their number. */
  insertMany(table: string, rows: readonly Readonly<Record<string, unknown>>[]): Promise<number>
}

/** A PostgreSQL resource: `interface CageResources { ledger: PostgresResource }`. */
export interface PostgresResource extends PostgresSession {
  /** Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. */
  run<T>(work: (session: PostgresSession) => Promise<T>, options?: TransactionOptions): Promise<T>
}
