/** Certificates of an authority of our own, as files. */
import { join } from 'node:path'
import { generate } from 'selfsigned'
import type { Owner } from '../../src/testing/owner.ts'
import { project } from './node.ts'

export interface CertificateFiles {
  ca: string
  cert: string
  key: string
}

/** An authority, and a certificate that it has signed for these names, for servers and clients; `until` may be past. */
export async function certificates(owner: Owner, altNames: object[], commonName = 'test', until?: Date): Promise<CertificateFiles> {
  const authority = await generate([{ name: 'commonName', value: 'test authority' }], {
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, critical: true },
    ],
  })
  const signed = await generate([{ name: 'commonName', value: commonName }], {
    algorithm: 'sha256',
    ...(until === undefined ? {} : { notBeforeDate: new Date(until.getTime() - 86_400_000), notAfterDate: until }),
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      { name: 'subjectAltName', altNames },
    ],
  } as Parameters<typeof generate>[1])
  const { dir } = project(owner, { 'ca.pem': authority.cert, 'cert.pem': signed.cert, 'key.pem': signed.private })
  return { ca: join(dir, 'ca.pem'), cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') }
}
