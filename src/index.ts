/** The package's public door: what modules, configuration files and tools import from 'menagerie'. */
export type {
  CageModules,
  Cages,
  Called,
  Calls,
  Context,
  ModuleOptions,
  ModuleSchemas,
  QueuedCages,
  QueueOptions,
  Queues,
  RequestView,
  Sent,
  State,
  StateOptions,
  UntypedModule,
  WithOptions,
} from './actors/contract.ts'
export type { Saga, Sagas, StepScope } from './actors/saga/contract.ts'
export type { HttpRequest, HttpResponse } from './adapters/http/types.ts'
export { defineCage, defineNode, env } from './define.ts'
export { CageError, CODES, type Code, type ErrorBody, type ErrorOptions } from './errors.ts'
export type { Log } from './log.ts'
export type { CageConfig, NodeConfig, QueueConfig } from './settings.ts'
