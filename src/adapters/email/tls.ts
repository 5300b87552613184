/** TLS of a connection to a mail server. The files are read with each connection, so that renewed ones are taken up. */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { CageError } from '../../errors.ts'
import type { MailServer } from './options.ts'

/** UNAVAILABLE if a file cannot be read: it may come. */
export function tlsOptions({ tls: { caFile, certFile, keyFile, serverName, verify } }: MailServer, name: string): ConnectionOptions {
  const file = (option: string, path: string | undefined): Record<string, Buffer> => {
    if (path === undefined) return {}
    try {
      return { [option]: readFileSync(path) }
    } catch (cause) {
      throw new CageError('UNAVAILABLE', `${name}: ${path} cannot be read`, { cause })
    }
  }
  return {
    ...{ ...file('ca', caFile), ...file('cert', certFile), ...file('key', keyFile) },
    rejectUnauthorized: verify,
    ...(serverName === undefined ? {} : { servername: serverName }),
  }
}
