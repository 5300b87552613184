/**
 * The primary of a replica set, as the wire protocol shows it: inserts, transactions and change streams in memory, and failures on demand.
 * It is no MongoDB: it proves what is sent and how answers are taken. MongoDB Wire Protocol (OP_MSG, OP_QUERY of the first hello), Transactions and
 * Change Streams as the driver specifications have them.
 */
import { createServer, type Socket } from 'node:net'
import { BSON, type Document } from 'mongodb'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { deferred } from '../../src/testing/wait.ts'

/** What becomes of one command: its answer, or the loss of the connection before or after it was done. */
export type Fate = Document | 'lost before' | 'lost after' | undefined

export interface Replica {
  readonly url: string
  readonly port: number
  /** Names of the commands that came, but for hello. */
  readonly said: string[]
  /** What was inserted and committed. */
  readonly documents: Document[]
  /** Decides about each command; undefined: as usual. */
  fate(decide: (name: string, command: Document) => Fate): void
  /** A change happens. */
  emit(change: Document): void
  /** The server no longer knows any change before now. */
  forget(): void
  /** Ends all connections. */
  cut(): void
}

interface Transaction {
  number: number
  state: 'open' | 'committed' | 'aborted'
  inserted: Document[]
}

const OP_REPLY = 1
const OP_QUERY = 2004
const OP_MSG = 2013
const CURSOR = BSON.Long.fromNumber(77)

export async function startReplica(owner: Owner): Promise<Replica> {
  const sockets = new Set<Socket>()
  const transactions = new Map<string, Transaction>()
  const documents: Document[] = []
  const changes: Document[] = []
  const said: string[] = []
  let forgotten = 0
  let position = 0
  let decide: (name: string, command: Document) => Fate = () => undefined
  let happened = deferred<void>()

  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    let rest = Buffer.alloc(0)
    let last: Promise<void> = Promise.resolve()
    socket.on('data', (data) => {
      rest = Buffer.concat([rest, data])
      while (rest.length >= 16 && rest.length >= rest.readInt32LE(0)) {
        const message = rest.subarray(0, rest.readInt32LE(0))
        rest = rest.subarray(message.length)
        last = last.then(() => answer(socket, message))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  atEnd(owner, () => {
    server.close()
    cut()
  })
  return {
    url: `mongodb://127.0.0.1:${port}/?replicaSet=rs0&heartbeatFrequencyMS=500`,
    port,
    said,
    documents,
    fate: (given) => (decide = given),
    emit(change) {
      changes.push({ _id: { _data: token(changes.length + 1) }, ...change })
      happened.resolve()
      happened = deferred()
    },
    forget: () => (forgotten = changes.length),
    cut,
  }

  async function answer(socket: Socket, message: Buffer): Promise<void> {
    const isQuery = message.readInt32LE(12) === OP_QUERY
    const command = isQuery ? query(message) : body(message)
    const [name = ''] = Object.keys(command)
    const isHello = /^(hello|ismaster)$/i.test(name)
    if (!isHello) said.push(name)
    const fate = isHello ? undefined : decide(name, command)
    if (fate === 'lost before') return void socket.destroy()
    const done = typeof fate === 'object' ? fate : isHello ? hello() : await run(name, command)
    if (fate === 'lost after') return void socket.destroy()
    if (!socket.destroyed) socket.write(reply(message.readInt32LE(4), done, isQuery))
  }

  function hello(): Document {
    const address = `127.0.0.1:${port}`
    return {
      ...{ ok: 1, ismaster: true, isWritablePrimary: true, setName: 'rs0', hosts: [address], primary: address, me: address, setVersion: 1 },
      ...{ minWireVersion: 0, maxWireVersion: 21, logicalSessionTimeoutMinutes: 30, readOnly: false, localTime: new Date() },
      ...{ maxBsonObjectSize: 16_777_216, maxMessageSizeBytes: 48_000_000, maxWriteBatchSize: 100_000 },
    }
  }

  async function run(name: string, command: Document): Promise<Document> {
    const transaction = command.autocommit === false ? found(command) : undefined
    switch (name) {
      case 'insert':
        if (command.autocommit === false && transaction?.state !== 'open') return noSuchTransaction()
        ;(transaction?.inserted ?? documents).push(...command.documents)
        return { ok: 1, n: command.documents.length }
      case 'commitTransaction':
        if (!transaction || transaction.state === 'aborted') return noSuchTransaction()
        if (transaction.state === 'open') documents.push(...transaction.inserted)
        transaction.state = 'committed'
        return { ok: 1 }
      case 'abortTransaction':
        if (transaction?.state === 'committed')
          return { ok: 0, code: 256, codeName: 'TransactionCommitted', errmsg: 'it has been committed' }
        if (transaction?.state !== 'open') return noSuchTransaction()
        transaction.state = 'aborted'
        return { ok: 1 }
      case 'aggregate':
        return opened(command)
      case 'getMore':
        return await more(command)
    }
    return { ok: 1 }
  }

  function found({ lsid, txnNumber, startTransaction }: Document): Transaction | undefined {
    const key = lsid.id.toString('hex')
    const number = Number(txnNumber)
    if (startTransaction) transactions.set(key, { number, state: 'open', inserted: [] })
    const transaction = transactions.get(key)
    return transaction?.number === number ? transaction : undefined
  }

  function opened({ pipeline, aggregate }: Document): Document {
    const stage = pipeline[0]?.$changeStream
    const cursor = { ns: `shop.${aggregate}`, firstBatch: [] }
    if (!stage) return { ok: 1, cursor: { ...cursor, id: BSON.Long.ZERO } }
    const from = stage.startAfter ?? stage.resumeAfter
    position = from ? Number(from._data) : changes.length
    if (position < forgotten) return historyLost()
    return { ok: 1, cursor: { ...cursor, id: CURSOR, postBatchResumeToken: { _data: token(position) } } }
  }

  async function more({ maxTimeMS = 0, collection }: Document): Promise<Document> {
    if (position >= changes.length) {
      const limit = new Promise<void>((resolve) => setTimeout(resolve, Math.min(50, Number(maxTimeMS))))
      await Promise.race([happened.promise, limit])
    }
    const nextBatch = changes.slice(position)
    position = changes.length
    const cursor = { id: CURSOR, ns: `shop.${collection}`, nextBatch, postBatchResumeToken: { _data: token(position) } }
    return { ok: 1, cursor }
  }
}

/** An answer that fails; labels as the server sets them. */
export function failure(code: number, codeName: string, errorLabels: string[] = []): Document {
  return { ok: 0, code, codeName, errmsg: `${codeName} of the test`, errorLabels }
}

function noSuchTransaction(): Document {
  return failure(251, 'NoSuchTransaction', ['TransientTransactionError'])
}

function historyLost(): Document {
  return failure(286, 'ChangeStreamHistoryLost', ['NonResumableChangeStreamError'])
}

function token(position: number): string {
  return String(position).padStart(8, '0')
}

/** OP_QUERY: flags, the collection's name, two numbers, a document. */
function query(message: Buffer): Document {
  return BSON.deserialize(message.subarray(message.indexOf(0, 20) + 9))
}

/** OP_MSG: flags, then sections: a document, or a named sequence of them. */
function body(message: Buffer): Document {
  const command: Document = {}
  for (let at = 20; at < message.length; ) {
    const isSequence = message[at++] === 1
    const end = at + message.readInt32LE(at)
    if (!isSequence) Object.assign(command, BSON.deserialize(message.subarray(at, end)))
    else {
      const zero = message.indexOf(0, at + 4)
      const list: Document[] = []
      for (let from = zero + 1; from < end; from += message.readInt32LE(from))
        list.push(BSON.deserialize(message.subarray(from, from + message.readInt32LE(from))))
      command[message.toString('utf8', at + 4, zero)] = list
    }
    at = end
  }
  return command
}

function reply(responseTo: number, document: Document, isQuery: boolean): Buffer {
  const bson = BSON.serialize(document)
  const head = Buffer.alloc(isQuery ? 36 : 21)
  head.writeInt32LE(head.length + bson.length, 0)
  head.writeInt32LE(responseTo, 8)
  head.writeInt32LE(isQuery ? OP_REPLY : OP_MSG, 12)
  if (isQuery) head.writeInt32LE(1, 32)
  return Buffer.concat([head, bson])
}
