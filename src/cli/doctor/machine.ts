/** What this machine gives and what it does not: Node's version, open files, the disk under the shared server. */
import { readdir, readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServerFacts } from '../../bus/inspect/contract.ts'
import type { CopyStatus } from '../../bus/survey/contract.ts'
import { showBytes } from '../values.ts'
import { type Finding, finding, ok } from './finding.ts'

/** Node's release schedule: until when a line gets security fixes. */
const NODE_ENDS: Readonly<Record<string, string>> = { '20': '2026-04-30', '22': '2027-04-30', '24': '2028-04-30' }
const FEW_FILES = 4_096
const FULL = 0.8
const LITTLE_DISK = 1e9

/** Pure. */
export function nodeFinding(version: string, now: number): Finding {
  const major = version.replace(/^v/, '').split('.')[0] ?? ''
  const ends = NODE_ENDS[major]
  if (ends !== undefined && now > Date.parse(ends))
    return finding('node', 'warning', `Node ${version}`, `its line gets no security fixes since ${ends}`, 'move to a newer line of Node')
  return ok('node', `Node ${version}${ends === undefined ? '' : `, whose line gets security fixes until ${ends}`}`)
}

/** Of the copies that run on this machine, as /proc tells: nothing where there is no /proc, or it is another user's. */
export async function fileFindings(copies: readonly CopyStatus[], host: string): Promise<Finding[]> {
  const findings: Finding[] = []
  const pids = new Set(copies.filter((copy) => copy.host === host).map(({ pid }) => pid))
  let seen = 0
  for (const pid of pids) {
    const limits = await readFile(`/proc/${pid}/limits`, 'utf8').catch(() => '')
    const open = await readdir(`/proc/${pid}/fd`).catch(() => undefined)
    const limit = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1])
    if (!(limit > 0) || !open) continue
    seen++
    if (open.length >= FULL * limit || limit < FEW_FILES)
      findings.push(
        finding(
          'open files',
          open.length >= FULL * limit ? 'problem' : 'note',
          `process ${pid} has ${open.length} files and connections open of ${limit}`,
          'beyond that, connections are refused and files cannot be opened',
          `ulimit -n, or LimitNOFILE= in the unit of systemd: ${FEW_FILES} at least`,
        ),
      )
  }
  return findings.length > 0 || seen === 0 ? findings : [ok('open files', `the nodes of this machine have room for connections and files`)]
}

/** The server that the nodes of a machine share, started by the first of them. */
export async function sharedServerFindings({ name, address }: ServerFacts, port: number, dataDir: string): Promise<Finding[]> {
  if (name !== `menagerie-${port}` || !address.endsWith(`:${port}`)) return []
  const findings = [
    finding(
      'shared server',
      'note',
      'the bus is the server that the nodes of this machine share: the first one starts it, the last one ends it',
      'nodes of other machines cannot reach it, and with this machine it is gone',
      'in production name servers of your own: --bus, NATS_URL or config/node.ts',
    ),
  ]
  const disk = await statfs(join(dataDir, 'nats')).catch(() => undefined) // started from another folder
  if (!disk) return findings
  const free = disk.bavail * disk.bsize
  findings.push(
    free < LITTLE_DISK
      ? finding(
          'disk space',
          'warning',
          `${showBytes(free)} are left where the server stores`,
          'a full disk refuses queued calls and state',
          'make room',
        )
      : ok('disk space', `${showBytes(free)} are left where the server stores`),
  )
  return findings
}
