/**
 * `menagerie/testing`, for node:test: what runs a project's cages (docs/cli.md, `new`), and what holds an adapter of one's own to the contracts
 * (docs/adapters/writing.md). It starts nats-server on a free port of loopback for each test, and ends it.
 */
export { loadAdapter, type RunningCages, type RunOptions, runCages } from './cages.ts'
export { interfaceConforms, type Protocol, type Seen, TARGET, type World } from './interface.ts'
export { atEnd, type Owner, suite } from './owner.ts'
export { freePort } from './port.ts'
export { type ResourceProtocol, resourceConforms, type ServerFeatures } from './resource.ts'
export { eventually, within } from './wait.ts'
