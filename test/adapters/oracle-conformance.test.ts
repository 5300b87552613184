/** Oracle does what every resource does, as far as the adapter goes: the driver is a stand-in (test/support/oracle.ts). */

import type { OracleOptions } from '../../src/adapters/oracle/options.ts'
import { open } from '../../src/adapters/oracle/resource.ts'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { FakeOracle } from '../support/oracle.ts'

const oracle = new FakeOracle()
oracle.behaviour = ({ sql }) => (sql === 'slow' ? 'slow' : { rows: [{ N: 1 }] })

const adapter = ADAPTERS.get('oracle')
if (!adapter) throw new Error('there is no adapter oracle')

resourceConforms({
  name: 'oracle',
  adapter: { ...adapter, open: (options, host) => open(options as OracleOptions, host, oracle) },
  options: () => ({ connectString: '127.0.0.1/fake', user: 'app', password: 'right' }),
  quick: { method: 'execute', args: ['select 1 as n from dual'], result: [{ N: 1 }] },
  server: {
    slow: { method: 'execute', args: ['slow'] },
    running: async () => oracle.running,
    sessions: async () => oracle.open.size,
    stop: async () => oracle.stop(),
    async start() {
      oracle.up = true
    },
    freeze() {
      oracle.frozen = true
    },
    thaw() {
      oracle.frozen = false
    },
    refused: () => ({ connectString: '127.0.0.1/fake', user: 'app', password: 'wrong' }),
  },
})
