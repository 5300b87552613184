/** TLS towards a server. */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { CageError } from '../../errors.ts'
import type { SmppTls } from './options.ts'

/** Files are read with each connection: certificates are renewed while we run. UNAVAILABLE if one cannot be read. */
export function tlsOptions({ caFile, certFile, keyFile, verify }: SmppTls, name: string): ConnectionOptions {
  try {
    return {
      rejectUnauthorized: verify,
      ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
      ...(certFile === undefined ? {} : { cert: readFileSync(certFile) }),
      ...(keyFile === undefined ? {} : { key: readFileSync(keyFile) }),
    }
  } catch (error) {
    throw new CageError('UNAVAILABLE', `${name}: ${(error as Error).message}`, { cause: error }) // of the file system: code, path
  }
}
