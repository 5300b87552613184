/** Addresses: text as type of number, numbering plan and digits. Pure. SMPP 3.4, 5.2.5 to 5.2.9. */
import { CageError } from '../../errors.ts'
import type { SmppAddress } from './api.ts'
import { numberOf, type Pdu, textOf } from './pdu.ts'

const UNKNOWN = 0
const INTERNATIONAL = 1
const ALPHANUMERIC = 5
const ISDN = 1

/** Throws INVALID_ARGUMENT. */
export function addressOf(given: unknown, what: string): SmppAddress {
  if (typeof given === 'string') {
    if (/^\+\d+$/.test(given)) return { address: given.slice(1), ton: INTERNATIONAL, npi: ISDN }
    return /^\d*$/.test(given) ? { address: given, ton: UNKNOWN, npi: ISDN } : { address: given, ton: ALPHANUMERIC, npi: 0 }
  }
  if (typeof given === 'object' && given !== null) {
    const { address, ton, npi }: Partial<Record<keyof SmppAddress, unknown>> = given
    if (typeof address === 'string' && typeof ton === 'number' && typeof npi === 'number') return { address, ton, npi }
  }
  throw new CageError('INVALID_ARGUMENT', `${what} is neither an address as text nor { address, ton, npi }`)
}

export function sourceFields({ address, ton, npi }: SmppAddress): {
  source_addr: string
  source_addr_ton: number
  source_addr_npi: number
} {
  return { source_addr: address, source_addr_ton: ton, source_addr_npi: npi }
}

export function destinationFields({ address, ton, npi }: SmppAddress): {
  destination_addr: string
  dest_addr_ton: number
  dest_addr_npi: number
} {
  return { destination_addr: address, dest_addr_ton: ton, dest_addr_npi: npi }
}

export function sourceOf(pdu: Pdu): SmppAddress {
  const [ton = 0, npi = 0] = [numberOf(pdu, 'source_addr_ton'), numberOf(pdu, 'source_addr_npi')]
  return { address: textOf(pdu, 'source_addr'), ton, npi }
}

export function destinationOf(pdu: Pdu): SmppAddress {
  const [ton = 0, npi = 0] = [numberOf(pdu, 'dest_addr_ton'), numberOf(pdu, 'dest_addr_npi')]
  return { address: textOf(pdu, 'destination_addr'), ton, npi }
}
