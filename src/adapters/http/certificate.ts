/**
 * Certificates of an HTTPS interface: read from files, or made here.
 * T1. A private key that is made here lies with its certificate in one file of mode 0600, which appears whole or not at all.
 * T2. It is made once: copies that start together agree on one, later starts find it. It is remade before it ends.
 * T3. The files are looked at every hour: new connections get a renewed certificate without a restart.
 */
import { createPrivateKey, randomUUID, X509Certificate } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Server } from 'node:tls'
import type { Log } from '../../log.ts'
import type { TlsOptions } from './options.ts'

/** What Node's TLS takes. */
export interface Credentials {
  key: string
  cert: string
  ca?: string | undefined
  /** The client must show a certificate that the CA signed. */
  requestCert: boolean
  rejectUnauthorized: boolean
}

const DAY_MS = 86_400_000
const VALID_DAYS = 365
const REMADE_DAYS_BEFORE = 30
const LOOK_MS = 3_600_000

/** The key and certificates as they are now; rejects if they cannot be read or made. `host` is where the interface listens. */
export async function readCredentials(tls: TlsOptions, dataDir: string, host: string, now: number): Promise<Credentials> {
  const ca = tls.clientCaFile === undefined ? undefined : await readFile(tls.clientCaFile, 'utf8')
  const mutual = { ca, requestCert: ca !== undefined, rejectUnauthorized: ca !== undefined }
  const { keyFile, certFile } = tls
  if (keyFile !== undefined && certFile !== undefined) {
    const [key, cert] = await Promise.all([readFile(keyFile, 'utf8'), readFile(certFile, 'utf8')])
    return { key, cert, ...mutual }
  }
  const pem = await selfSigned(join(dataDir, 'certificate.pem'), host, now)
  return { key: pem, cert: pem, ...mutual }
}

/** T3. Returns what ends it. */
export function keepCurrent(
  server: Pick<Server, 'setSecureContext'>,
  used: Credentials,
  read: () => Promise<Credentials>,
  log: Log,
): () => void {
  let current = used
  const look = async (): Promise<void> => {
    const next = await read()
    if (next.cert === current.cert && next.key === current.key && next.ca === current.ca) return
    server.setSecureContext(next)
    current = next
    log.info({}, 'certificate renewed')
  }
  const timer = setInterval(() => {
    look().catch((error: unknown) => log.error({ err: error }, 'the new certificate cannot be used, the old one goes on'))
  }, LOOK_MS)
  timer.unref()
  return () => clearInterval(timer)
}

/** T1, T2. */
async function selfSigned(file: string, host: string, now: number): Promise<string> {
  const known = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (known !== undefined && isFit(known, now)) return known
  const draft = `${file}.${randomUUID()}`
  await mkdir(join(file, '..'), { recursive: true })
  await writeFile(draft, await make(host, now), { mode: 0o600, flag: 'wx' })
  if (known !== undefined) await rename(draft, file)
  else {
    await link(draft, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error // another copy was faster: its certificate is ours too
    })
    await rm(draft)
  }
  return await readFile(file, 'utf8')
}

function isFit(pem: string, now: number): boolean {
  try {
    const certificate = new X509Certificate(pem)
    const left = Date.parse(certificate.validTo) - now
    return left > REMADE_DAYS_BEFORE * DAY_MS && certificate.checkPrivateKey(createPrivateKey(pem))
  } catch {
    return false // damaged: it is made anew
  }
}

async function make(host: string, now: number): Promise<string> {
  const { generate } = await import('selfsigned')
  const names = [...new Set(['localhost', hostname(), '127.0.0.1', '::1', host])].filter((name) => name !== '0.0.0.0' && name !== '::')
  const made = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(now - DAY_MS), // a client's clock may be slow
    notAfterDate: new Date(now + VALID_DAYS * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: names.map((name) => (isIP(name) ? { type: 7, ip: name } : { type: 2, value: name })) },
    ],
  })
  return `${made.private.trimEnd()}\n${made.cert.trimEnd()}\n`
}
