/** What a module sees of a MongoDB resource. Types only; users import them from 'menagerie'. */

/** A document as plain data: docs/adapters/mongodb.md, "Values". */
export type MongoDocument = Record<string, unknown>
/** An ObjectId. */
export interface ObjectIdValue {
  $oid: string
}
/** A Decimal128. */
export interface DecimalValue {
  $numberDecimal: string
}

type Filter = Readonly<Record<string, unknown>>
type Pipeline = readonly Readonly<Record<string, unknown>>[]
/** Operators, or a pipeline. */
type Update = Readonly<Record<string, unknown>> | Pipeline
type Sort = Readonly<Record<string, unknown>>
type Hint = string | Readonly<Record<string, unknown>>
interface Common {
  hint?: Hint
  collation?: Readonly<Record<string, unknown>>
}
export interface FindOptions extends Common {
  sort?: Sort
  projection?: Readonly<Record<string, unknown>>
  limit?: number
  skip?: number
  batchSize?: number
  let?: Readonly<Record<string, unknown>>
  allowDiskUse?: boolean
}
export interface AggregateOptions extends Common {
  allowDiskUse?: boolean
  batchSize?: number
  let?: Readonly<Record<string, unknown>>
  bypassDocumentValidation?: boolean
}
export interface UpdateOptions extends Common {
  upsert?: boolean
  arrayFilters?: Pipeline
  /** Which one of several, of updateOne and replaceOne; MongoDB 8. */
  sort?: Sort
  let?: Readonly<Record<string, unknown>>
  bypassDocumentValidation?: boolean
}
export interface FindOneAndOptions extends Common {
  sort?: Sort
  projection?: Readonly<Record<string, unknown>>
  let?: Readonly<Record<string, unknown>>
}
export interface FindOneAndChangeOptions extends FindOneAndOptions {
  upsert?: boolean
  /** Default: before. */
  returnDocument?: 'before' | 'after'
  arrayFilters?: Pipeline
  bypassDocumentValidation?: boolean
}
export interface UpdateResult {
  matchedCount: number
  modifiedCount: number
  upsertedCount: number
  upsertedId: unknown
}
export interface BulkResult {
  insertedCount: number
  matchedCount: number
  modifiedCount: number
  deletedCount: number
  upsertedCount: number
  /** Index of the operation → _id. */
  upsertedIds: Record<number, unknown>
  insertedIds: Record<number, unknown>
}
export interface InsertOptions {
  /** Default true: the first failure ends it. */
  ordered?: boolean
  bypassDocumentValidation?: boolean
}

/** What can be done in a transaction. */
export interface MongoSession {
  find<D = MongoDocument>(collection: string, filter?: Filter, options?: FindOptions): Promise<D[]>
  findOne<D = MongoDocument>(collection: string, filter?: Filter, options?: Omit<FindOptions, 'limit' | 'batchSize'>): Promise<D | null>
  /**
   * Documents one by one, of a filter or a pipeline: for more than fits into memory. The connection is `work`'s until it ends; what it resolves
   * with is the result.
   */
  stream<T, D = MongoDocument>(
    collection: string,
    what: Filter | Pipeline | undefined,
    options: FindOptions | AggregateOptions | undefined,
    work: (documents: AsyncIterable<D>) => Promise<T>,
  ): Promise<T>
  aggregate<D = MongoDocument>(collection: string, pipeline: Pipeline, options?: AggregateOptions): Promise<D[]>
  countDocuments(collection: string, filter?: Filter, options?: Common & { limit?: number; skip?: number }): Promise<number>
  estimatedDocumentCount(collection: string): Promise<number>
  distinct<V = unknown>(collection: string, field: string, filter?: Filter, options?: Common): Promise<V[]>
  insertOne(
    collection: string,
    document: Readonly<object>,
    options?: { bypassDocumentValidation?: boolean },
  ): Promise<{ insertedId: unknown }>
  insertMany(
    collection: string,
    documents: readonly Readonly<object>[],
    options?: InsertOptions,
  ): Promise<{ insertedCount: number; insertedIds: unknown[] }>
  updateOne(collection: string, filter: Filter, update: Update, options?: UpdateOptions): Promise<UpdateResult>
  updateMany(collection: string, filter: Filter, update: Update, options?: Omit<UpdateOptions, 'sort'>): Promise<UpdateResult>
  replaceOne(
    collection: string,
    filter: Filter,
    document: Readonly<object>,
    options?: Omit<UpdateOptions, 'arrayFilters'>,
  ): Promise<UpdateResult>
  deleteOne(collection: string, filter: Filter, options?: Common & { let?: Filter }): Promise<{ deletedCount: number }>
  deleteMany(collection: string, filter: Filter, options?: Common & { let?: Filter }): Promise<{ deletedCount: number }>
  findOneAndUpdate<D = MongoDocument>(
    collection: string,
    filter: Filter,
    update: Update,
    options?: FindOneAndChangeOptions,
  ): Promise<D | null>
  findOneAndReplace<D = MongoDocument>(
    collection: string,
    filter: Filter,
    document: Readonly<object>,
    options?: Omit<FindOneAndChangeOptions, 'arrayFilters'>,
  ): Promise<D | null>
  findOneAndDelete<D = MongoDocument>(collection: string, filter: Filter, options?: FindOneAndOptions): Promise<D | null>
  /** `[{ insertOne: { document } }, { updateOne: { filter, update } }, { deleteMany: { filter } } ...]` */
  bulkWrite(collection: string, operations: Pipeline, options?: InsertOptions): Promise<BulkResult>
  /** Any other command of the database: `{ createIndexes: 'orders', indexes: [...] }`. */
  command(command: Readonly<Record<string, unknown>>): Promise<MongoDocument>
}

export interface TransactionOptions {
  /** Default: as the server has it. */
  readConcern?: 'local' | 'majority' | 'snapshot'
  /** How many members have it when it is committed. Default: majority. */
  w?: 'majority' | number
}

/** A MongoDB resource: `interface CageResources { shop: MongoResource }`. */
export interface MongoResource extends MongoSession {
  /** Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. Replica sets and sharded clusters only. */
  run<T>(work: (session: MongoSession) => Promise<T>, options?: TransactionOptions): Promise<T>
}
