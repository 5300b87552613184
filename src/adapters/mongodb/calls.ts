/**
 * The methods of a MongoDB resource: each checks what it was given, and asks the driver's method of the same name. Values come and go as values.ts says.
 * M1. An option that a method does not have is a mistake, told by its name: nothing is ignored.
 * M2. What deletes or replaces needs a filter: `undefined` is none, so that a variable without a value deletes nothing.
 */
import type { AnyBulkWriteOperation, ClientSession, Db, Document, Filter, UpdateFilter } from 'mongodb'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import type { Limits } from './link.ts'
import { fromBson, toBson } from './values.ts'

/** What a call is made with. */
export interface Sending extends Limits {
  db: Db
  session: ClientSession | undefined
}

/** A call that has been checked. */
export type Call = (sending: Sending) => Promise<unknown>

const FIND = ['sort', 'projection', 'limit', 'skip', 'hint', 'collation', 'batchSize', 'let', 'allowDiskUse']
const AGGREGATE = ['allowDiskUse', 'hint', 'collation', 'batchSize', 'let', 'bypassDocumentValidation']
const INSERT = ['ordered', 'bypassDocumentValidation']
const UPDATE = ['upsert', 'arrayFilters', 'sort', 'hint', 'collation', 'let', 'bypassDocumentValidation']
const DELETE = ['hint', 'collation', 'let']
const FIND_AND = ['sort', 'projection', 'hint', 'collation', 'let']
const CHANGE = ['upsert', 'returnDocument', 'arrayFilters', 'bypassDocumentValidation']

/** Commands that the runtime says, or nobody: they would end or move what it holds. */
const OURS = [
  'commitTransaction',
  'abortTransaction',
  'endSessions',
  'killSessions',
  'killAllSessions',
  'startSession',
  'refreshSessions',
  'getMore',
  'killCursors',
]

/** What a method's arguments are, by their names, in their order; and what it does with them. */
interface Method {
  takes: readonly (keyof typeof READERS)[]
  options?: readonly string[]
  send(given: Given, sending: Sending): Promise<unknown>
}

interface Given {
  collection: string
  filter: Filter<Document>
  wanted: Filter<Document>
  pipeline: Document[]
  document: Document
  documents: Document[]
  update: UpdateFilter<Document>
  operations: AnyBulkWriteOperation[]
  field: string
  command: Document
  options: Document
}

/** `wanted` is a filter that may be left out. */
const READERS: { [K in Exclude<keyof Given, 'options'>]: (value: unknown) => Given[K] } = {
  collection: (value) => text(value, 'the collection'),
  filter: (value) => object(value, 'the filter'),
  wanted: (value) => (value === undefined ? {} : object(value, 'the filter')),
  pipeline: (value) => list(value, 'the pipeline'),
  document: (value) => object(value, 'the document'),
  documents: (value) => list(value, 'the documents'),
  update: (value) =>
    Array.isArray(value) ? (list(value, 'the update') as unknown as UpdateFilter<Document>) : object(value, 'the update'), // or a pipeline
  operations: (value) => list(value, 'the operations') as unknown as AnyBulkWriteOperation[], // the server checks them
  field: (value) => text(value, 'the field'),
  command: (value) => command(object(value, 'the command')),
}

const METHODS: Readonly<Record<string, Method>> = {
  find: {
    takes: ['collection', 'wanted'],
    options: FIND,
    send: ({ collection, wanted, options }, { db }) => db.collection(collection).find(wanted, options).toArray(),
  },
  findOne: {
    takes: ['collection', 'wanted'],
    options: FIND.filter((name) => name !== 'limit' && name !== 'batchSize'),
    send: ({ collection, wanted, options }, { db }) => db.collection(collection).findOne(wanted, options),
  },
  aggregate: {
    takes: ['collection', 'pipeline'],
    options: AGGREGATE,
    send: ({ collection, pipeline, options }, { db }) => db.collection(collection).aggregate(pipeline, options).toArray(),
  },
  countDocuments: {
    takes: ['collection', 'wanted'],
    options: ['limit', 'skip', 'hint', 'collation'],
    send: async ({ collection, wanted, options }, { db }) => Number(await db.collection(collection).countDocuments(wanted, options)),
  },
  estimatedDocumentCount: {
    takes: ['collection'],
    send: async ({ collection, options }, { db }) => Number(await db.collection(collection).estimatedDocumentCount(options)),
  },
  distinct: {
    takes: ['collection', 'field', 'wanted'],
    options: ['hint', 'collation'],
    send: ({ collection, field, wanted, options }, { db }) => db.collection(collection).distinct(field, wanted, options),
  },
  insertOne: {
    takes: ['collection', 'document'],
    options: ['bypassDocumentValidation'],
    send: ({ collection, document, options }, { db }) => db.collection(collection).insertOne(document, options),
  },
  insertMany: {
    takes: ['collection', 'documents'],
    options: INSERT,
    async send({ collection, documents, options }, { db }) {
      if (documents.length === 0) return { insertedCount: 0, insertedIds: [] }
      const { insertedCount, insertedIds } = await db.collection(collection).insertMany(documents, options)
      return { insertedCount, insertedIds: Object.values(insertedIds) }
    },
  },
  updateOne: {
    takes: ['collection', 'filter', 'update'],
    options: UPDATE,
    send: ({ collection, filter, update, options }, { db }) => db.collection(collection).updateOne(filter, update, options),
  },
  updateMany: {
    takes: ['collection', 'filter', 'update'],
    options: UPDATE.filter((name) => name !== 'sort'),
    send: ({ collection, filter, update, options }, { db }) => db.collection(collection).updateMany(filter, update, options),
  },
  replaceOne: {
    takes: ['collection', 'filter', 'document'],
    options: UPDATE.filter((name) => name !== 'arrayFilters'),
    send: ({ collection, filter, document, options }, { db }) => db.collection(collection).replaceOne(filter, document, options),
  },
  deleteOne: {
    takes: ['collection', 'filter'],
    options: DELETE,
    send: ({ collection, filter, options }, { db }) => db.collection(collection).deleteOne(filter, options),
  },
  deleteMany: {
    takes: ['collection', 'filter'],
    options: DELETE,
    send: ({ collection, filter, options }, { db }) => db.collection(collection).deleteMany(filter, options),
  },
  findOneAndUpdate: {
    takes: ['collection', 'filter', 'update'],
    options: [...FIND_AND, ...CHANGE],
    send: ({ collection, filter, update, options }, { db }) => db.collection(collection).findOneAndUpdate(filter, update, options),
  },
  findOneAndReplace: {
    takes: ['collection', 'filter', 'document'],
    options: [...FIND_AND, ...CHANGE.filter((name) => name !== 'arrayFilters')],
    send: ({ collection, filter, document, options }, { db }) => db.collection(collection).findOneAndReplace(filter, document, options),
  },
  findOneAndDelete: {
    takes: ['collection', 'filter'],
    options: FIND_AND,
    send: ({ collection, filter, options }, { db }) => db.collection(collection).findOneAndDelete(filter, options),
  },
  bulkWrite: {
    takes: ['collection', 'operations'],
    options: INSERT,
    async send({ collection, operations, options }, { db }) {
      const result = await db.collection(collection).bulkWrite(operations, options)
      const { insertedCount, matchedCount, modifiedCount, deletedCount, upsertedCount, upsertedIds, insertedIds } = result
      return { insertedCount, matchedCount, modifiedCount, deletedCount, upsertedCount, upsertedIds, insertedIds }
    },
  },
  command: {
    takes: ['command'],
    send: ({ command, options: { comment, maxTimeMS, session } }, { db }) => db.command({ ...command, comment, maxTimeMS }, { session }),
  },
}

/** Names of all methods that are one call. */
export const METHOD_NAMES: readonly string[] = Object.keys(METHODS)

/** Checks what the caller gave; undefined if there is no such method. INVALID_ARGUMENT. */
export function callOf(name: string, args: readonly unknown[]): Call | undefined {
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined
  if (!method) return undefined
  const { takes, options: known = [], send } = method
  const given = Object.fromEntries(takes.map((what, n) => [what, READERS[what](args[n])])) as unknown as Given // those that it takes
  const options = optionsOf(name, args[takes.length], known)
  if (args.length > takes.length + 1) throw new CageError('INVALID_ARGUMENT', `${name} takes ${takes.join(', ')} and options, no more`)
  return async (sending) => {
    const { comment, maxTimeMS, session } = sending
    const limited = { ...options, comment, maxTimeMS, ...(session && { session }) }
    return fromBson(acknowledged(await send({ ...given, options: limited }, sending)))
  }
}

/** The options of a cursor that is read piece by piece, and what it reads: a filter, or a pipeline. INVALID_ARGUMENT. */
export function streamOf(
  collection: unknown,
  what: unknown,
  options: unknown,
): { collection: string; what: Document | Document[]; options: Document } {
  const name = READERS.collection(collection)
  if (Array.isArray(what)) return { collection: name, what: READERS.pipeline(what), options: optionsOf('stream', options, AGGREGATE) }
  return { collection: name, what: READERS.wanted(what), options: optionsOf('stream', options, FIND) }
}

/** M1. */
export function optionsOf(method: string, given: unknown, known: readonly string[]): Document {
  if (given === undefined) return {}
  const options = object(given, `the options of ${method}`)
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new CageError('INVALID_ARGUMENT', `${method} has no option ${key}${didYouMean(key, known)}`)
    if (options[key] === null) delete options[key] // undefined: not given
  }
  return options
}

function command(given: Document): Document {
  const [name] = Object.keys(given)
  if (name === undefined) throw new CageError('INVALID_ARGUMENT', 'the command is empty')
  if (OURS.includes(name)) throw new CageError('INVALID_ARGUMENT', `${name} is the runtime's to say: use run, stream, or ctx.transaction`)
  return given
}

function acknowledged(result: unknown): unknown {
  if (typeof result !== 'object' || result === null || !('acknowledged' in result)) return result
  const { acknowledged: _, ...rest } = result as Document
  return rest
}

function text(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new CageError('INVALID_ARGUMENT', `${what} is no text`)
}

function object(value: unknown, what: string): Document {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const made = bson(value, what)
    if (typeof made === 'object' && made !== null && Object.getPrototypeOf(made) === Object.prototype) return made
  }
  throw new CageError('INVALID_ARGUMENT', `${what} is no object`)
}

function bson(value: object, what: string): unknown {
  try {
    return toBson(value, what)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new CageError('INVALID_ARGUMENT', `${what} is nested too deep, or in itself`) // the stack is the limit
  }
}

function list(value: unknown, what: string): Document[] {
  if (!Array.isArray(value)) throw new CageError('INVALID_ARGUMENT', `${what} is no list`)
  return value.map((item: unknown, n) => object(item, `${what}[${n}]`))
}
