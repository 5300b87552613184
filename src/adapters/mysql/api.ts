/** What a module sees of a MySQL or MariaDB resource. Types only; users import them from 'menagerie'. */
import type { TransactionOptions } from './begin.ts'
import type { Parameters } from './parameters.ts'

export type { TransactionOptions } from './begin.ts'

/** A row, by its columns' names. */
export type MysqlRow = Record<string, unknown>

/** What can be done in a transaction. */
export interface MysqlSession {
  /** The rows of one statement; none of a statement that returns none. */
  execute<R = MysqlRow>(sql: string, parameters?: Parameters): Promise<R[]>
  /** How many rows one statement has changed, or found as they should be. */
  change(sql: string, parameters?: Parameters): Promise<number>
  /** The rows of each statement, all or nothing. */
  batch(statements: readonly (string | readonly [sql: string, parameters?: Parameters])[]): Promise<MysqlRow[][]>
  /** Inserts rows that all have the same columns, all or none; resolves with their number. */
  insertMany(table: string, rows: readonly Readonly<Record<string, unknown>>[]): Promise<number>
}

/** A MySQL or MariaDB resource: `interface CageResources { shop: MysqlResource }`. */
export interface MysqlResource extends MysqlSession {
  /** Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. */
  run<T>(work: (session: MysqlSession) => Promise<T>, options?: TransactionOptions): Promise<T>
}
