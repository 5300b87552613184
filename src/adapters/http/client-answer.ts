/**
 * Answers: a body that comes in, decompressed, within its limit, as the value that its type says.
 * W1. More than the limit is never kept: neither compressed nor decompressed.
 * W2. A body that ends too soon is an error, never a shorter body.
 */
import { pipeline, type Readable, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { Dispatcher } from 'undici'
import { CageError } from '../../errors.ts'
import { parseBody } from './body.ts'
import type { HttpAnswer, HttpCallOptions } from './client-api.ts'
import { fromUndici } from './client-errors.ts'

/** More than anybody uses, and each is a decoder with its buffers. */
const MAX_CODINGS = 4

/** Status and headers without the body. */
export function headOf({ statusCode, headers }: Dispatcher.ResponseData): Omit<HttpAnswer, 'body'> {
  const known = Object.entries(headers).filter((entry): entry is [string, string | string[]] => entry[1] !== undefined)
  return { status: statusCode, headers: Object.fromEntries(known) }
}

/** The body's pieces, decompressed. */
export async function* piecesOf(response: Dispatcher.ResponseData, method: string, resource: string): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const piece of decompressed(response, method, resource)) yield piece as Uint8Array // of a stream of bytes
  } catch (error) {
    throw fromUndici(error, resource)
  }
}

/** The whole body. PAYLOAD_TOO_LARGE, UNAVAILABLE. */
export async function bytesOf(response: Dispatcher.ResponseData, method: string, limit: number, resource: string): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of decompressed(response, method, resource)) {
    length += (piece as Uint8Array).length // of a stream of bytes
    if (length > limit) throw new CageError('PAYLOAD_TOO_LARGE', `${resource}: the answer has more than ${limit} bytes`)
    pieces.push(piece as Uint8Array)
  }
  return Buffer.concat(pieces, length)
}

/** The body's value. UNAVAILABLE if it is not what it says it is. */
export function bodyOf(bytes: Buffer, headers: HttpAnswer['headers'], as: HttpCallOptions['as'], resource: string): unknown {
  const given = headers['content-type']
  const contentType =
    as === undefined ? (Array.isArray(given) ? given[0] : given) : { json: 'application/json', text: textType(given), bytes: undefined }[as]
  try {
    return parseBody({ bytes, contentType, contentEncoding: undefined }, JSON.parse, true)
  } catch (error) {
    throw new CageError('UNAVAILABLE', `${resource}: the answer's body is no ${contentType}`, { cause: error, retryable: false })
  }
}

function textType(given: unknown): string {
  return typeof given === 'string' && /^text\//i.test(given) ? given : 'text/plain' // with its character set
}

/** RFC 9110, 8.4.1. UNAVAILABLE. */
function decompressed({ body, headers, statusCode }: Dispatcher.ResponseData, method: string, resource: string): Readable {
  if (method === 'HEAD' || statusCode === 204 || statusCode === 304) return body // the headers tell of another one: RFC 9112, 6.3
  const codings = String(headers['content-encoding'] ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity')
  if (codings.length > MAX_CODINGS) {
    body.on('error', () => {}).destroy() // it is told once
    throw new CageError('UNAVAILABLE', `${resource}: the answer has ${codings.length} content codings`, { retryable: false })
  }
  let stream: Readable = body
  for (const coding of codings.reverse()) {
    const decoder = decoderOf(coding)
    if (decoder === undefined) return stream // it was not asked for: who gets it may know
    stream = pipeline(stream, decoder, () => {}) // who reads is told
  }
  return stream
}

function decoderOf(coding: string): Transform | undefined {
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip()
  if (coding === 'deflate') return createInflate()
  if (coding === 'br') return createBrotliDecompress()
  return undefined
}
