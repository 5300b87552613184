/** A process that owns a journal: `node --import tsx journal-owner.ts <url> <cage> <name>` appends one event, says so, and lives on. */
import { openBus } from '../../src/bus/nats.ts'
import { recordingLog } from '../../src/testing/log.ts'

const [url = '', cage = '', name = ''] = process.argv.slice(2)
const bus = await openBus('owner', { servers: [url] }, recordingLog().log, new AbortController().signal)
await bus.journals.open(cage, 'tx', name).append('mine')
process.stdout.write('ready\n')
