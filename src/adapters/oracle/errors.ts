/**
 * Oracle's errors as ours: ORA- of the database, NJS- of the driver. Pure.
 * E1. Values are not told: messages that may hold some stay behind, and so do hosts and ids of connections.
 * E2. `details` are { oracleCode }: 'ORA-00001', or 'NJS-511' with { cause: 'ORA-12516' } where the listener tells one.
 * Oracle Database Error Messages; node-oracledb, "Error Handling".
 */
import { CageError, type Code, type ErrorOptions, toCageError } from '../../errors.ts'

/** What the driver tells of an error. */
interface DriverError extends Error {
  code?: string
}

/** Whether the connection cannot be used again. */
export function losesConnection(error: unknown): boolean {
  return LOST.has(codeOf(error) ?? '')
}

/** The error of a statement, or of a connection that has ended. */
export function fromOracle(error: unknown, resource: string): CageError {
  if (error instanceof CageError) return error
  const code = codeOf(error)
  if (code === undefined || !(error instanceof Error)) return toCageError(error)
  const cause = code.startsWith('NJS') ? /\b(ORA-\d{5})/.exec(error.message)?.[1] : undefined
  const { code: ours, retryable, isTold } = classify(cause ?? code, code)
  const details = { oracleCode: code, ...(cause !== undefined && { cause }) }
  const options: ErrorOptions = { details, ...(retryable !== undefined && { retryable }) }
  return new CageError(ours, `${resource}: ${isTold ? firstLine(error.message) : told(ours, cause ?? code)}`, options)
}

/** The error of an attempt to connect: what is none of the driver's is an answer that was no answer of Oracle's. */
export function fromConnect(error: unknown, resource: string): CageError {
  if (error instanceof CageError || codeOf(error) !== undefined) return fromOracle(error, resource)
  return new CageError('UNAVAILABLE', `${resource}: what answers does not speak as Oracle does`, { cause: error })
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error instanceof Error ? error : {}) as Partial<DriverError>
  return code !== undefined && /^(ORA|NJS|DPI|TNS|PLS)-\d+/.test(code) ? code : undefined
}

interface Class {
  code: Code
  retryable?: boolean
  /** Its message speaks of the SQL, not of values. */
  isTold?: boolean
}

function classify(code: string, driverCode: string): Class {
  const number = Number(/\d+/.exec(code)?.[0])
  if (code.startsWith('ORA')) {
    if (number >= 20_000 && number <= 20_999) return SAID_WRONGLY // raise_application_error: in the application's own words
    return ORACLE.get(number) ?? RANGES.find(([from, to]) => number >= from && number <= to)?.[2] ?? driverClass(driverCode) ?? UNFORESEEN
  }
  return driverClass(code) ?? UNFORESEEN
}

function driverClass(code: string): Class | undefined {
  if (!code.startsWith('NJS')) return undefined
  const number = Number(code.slice(4))
  if (number >= 500 || DRIVER_LOST.includes(number)) return AWAY
  return DRIVER.get(number) ?? (number < 200 && !DRIVER_BROKEN.includes(number) ? SAID_WRONGLY : undefined)
}

function told(code: Code, oracleCode: string): string {
  return `${TEXTS[code] ?? 'the database failed'} (${oracleCode})`
}

const TEXTS: Readonly<Record<string, string>> = {
  UNAVAILABLE: 'the database cannot be reached',
  UNAUTHENTICATED: 'the database refuses us',
  FORBIDDEN: 'a privilege is missing',
  OVERLOADED: 'the database has no room',
  CONFLICT: 'it is in conflict with what is there',
  DEADLINE_EXCEEDED: 'the deadline has passed',
  CANCELLED: 'it was ended at the database',
  INVALID_ARGUMENT: 'a value is not what it should be',
  NOT_FOUND: 'no data was found',
}

function firstLine(message: string): string {
  const [line = ''] = message.split('\n')
  return line.replace(/^[A-Z]+-\d+: /, '')
}

const UNFORESEEN: Class = { code: 'INTERNAL' }
const AWAY: Class = { code: 'UNAVAILABLE' }
const REFUSED: Class = { code: 'UNAUTHENTICATED', retryable: true } // ours, not our caller's: a queued call waits until the password is right
const FULL: Class = { code: 'OVERLOADED' }
const TRY_AGAIN: Class = { code: 'CONFLICT', retryable: true }
const THERE: Class = { code: 'CONFLICT' }
const WRONG_VALUE: Class = { code: 'INVALID_ARGUMENT' }
const SAID_WRONGLY: Class = { code: 'INVALID_ARGUMENT', isTold: true }

const ORACLE: ReadonlyMap<number, Class> = new Map<number, Class>([
  ...each([1, 1_400, 1_407, 2_091, 2_290, 2_291, 2_292], THERE), // unique, null, deferred, check, parent and child keys
  ...each([54, 60, 1_555, 4_020, 4_021, 8_176, 8_177, 30_006, 4_068], TRY_AGAIN), // locks, deadlock, serialization, packages made anew
  ...each([1_013], { code: 'CANCELLED' }),
  ...each([1_005, 1_017, 1_045, 28_000, 28_001, 28_040, 28_300, 988], REFUSED),
  ...each([1_031, 1_720, 41_900], { code: 'FORBIDDEN' }),
  ...each([18, 20, 1_536, 1_652, 1_653, 1_654, 1_688, 2_391, 4_030, 4_031, 4_036, 12_516, 12_518, 12_519, 12_520, 56_901], FULL),
  ...each([28, 1_012, 1_033, 1_034, 1_041, 1_089, 1_090, 1_092, 2_396, 2_399, 3_113, 3_114, 3_135, 12_153, 25_408, 56_600], AWAY),
  ...each([100, 1_403], { code: 'NOT_FOUND' }),
  ...each([1_426, 1_438, 1_476, 1_722, 6_502, 12_899, 22_835, 1_489, 30_081, 40_441], WRONG_VALUE),
  ...each([1_422, 1_427, 1_456, 1_461, 1_465, 1_483, 1_484, 4_063, 4_091, 6_503, 6_512, 6_550, 6_553, 6_575, 14_551], SAID_WRONGLY),
])

const RANGES: readonly (readonly [from: number, to: number, known: Class])[] = [
  [900, 999, SAID_WRONGLY], // SQL, names
  [1_008, 1_008, SAID_WRONGLY],
  [1_036, 1_036, SAID_WRONGLY],
  [1_700, 1_799, SAID_WRONGLY], // SQL
  [1_830, 1_899, WRONG_VALUE], // dates
  [2_000, 2_289, SAID_WRONGLY], // definitions
  [12_150, 12_699, AWAY], // network
]

const DRIVER: ReadonlyMap<number, Class> = new Map<number, Class>([
  ...each([101, 116], REFUSED), // no password; a verifier that thin mode does not know
  ...each([123], { code: 'DEADLINE_EXCEEDED' }),
  ...each([138, 89], AWAY), // a server, or a feature, that thin mode does not support
  ...each([11, 12, 58, 105, 115, 134, 135, 142, 143], WRONG_VALUE),
])
/** The driver's own failures, which say nothing of the call. */
const DRIVER_BROKEN: readonly number[] = [99, 106, 111, 112, 127, 128]
/** Closed; the server says what nobody understands. */
const DRIVER_LOST: readonly number[] = [3, 102, 103, 113, 173]
const LOST: ReadonlySet<string> = new Set([
  ...[
    'ORA-00028',
    'ORA-01012',
    'ORA-01092',
    'ORA-02396',
    'ORA-02399',
    'ORA-03113',
    'ORA-03114',
    'ORA-03135',
    'ORA-12537',
    'ORA-12547',
    'ORA-12571',
  ],
  ...['NJS-003', 'NJS-102', 'NJS-103', 'NJS-113', 'NJS-173', 'NJS-500', 'NJS-501', 'NJS-503', 'NJS-509', 'NJS-510', 'NJS-513', 'NJS-521'],
])

function each(numbers: readonly number[], known: Class): [number, Class][] {
  return numbers.map((number) => [number, known])
}
