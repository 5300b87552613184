/** The resource that is nothing does what every resource does. */
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { resourceConforms } from '../../src/testing/resource.ts'

const adapter = ADAPTERS.get('void')
if (!adapter) throw new Error('there is no adapter void')

resourceConforms({ name: 'void', adapter, options: () => ({}), quick: { method: 'anything', args: [1, 'two'], result: [1, 'two'] } })
