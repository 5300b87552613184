/** TLS towards a server: what is configured, as Node takes it. The server is verified, unless that is switched off. */
import { readFileSync } from 'node:fs'
import { CageError } from '../../errors.ts'

/** Checked and complete. */
export interface ClientTls {
  /** Authorities besides these are not trusted then. */
  caFile?: string | undefined
  certFile?: string | undefined
  keyFile?: string | undefined
  /** The name that the certificate must have. Default: the host's. */
  serverName?: string | undefined
  /** Certificate and name of the server are checked. */
  verify: boolean
}

/** Of Node's `ConnectionOptions`. */
export interface TlsSettings {
  rejectUnauthorized: boolean
  servername?: string
  ca?: Buffer
  cert?: Buffer
  key?: Buffer
}

/** Reads the files; call it for each connection: certificates are renewed while we run. UNAVAILABLE. */
export function tlsOptions({ caFile, certFile, keyFile, serverName, verify }: ClientTls, resource: string): TlsSettings {
  try {
    return {
      rejectUnauthorized: verify,
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
      ...(certFile === undefined ? {} : { cert: readFileSync(certFile) }),
      ...(keyFile === undefined ? {} : { key: readFileSync(keyFile) }),
    }
  } catch (error) {
    throw new CageError('UNAVAILABLE', `${resource}: a file of tls cannot be read: ${(error as Error).message}`, { cause: error }) // of the file system: code, path
  }
}
