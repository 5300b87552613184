/** The package's public door: what modules, configuration files and tools import from 'menagerie'. */
export type {
  CageModules,
  Cages,
  Called,
  Calls,
  Context,
  ModuleOptions,
  ModuleSchemas,
  RequestView,
  Sent,
  UntypedModule,
  WithOptions,
} from './actors/contract.ts'
export type { HttpRequest, HttpResponse } from './adapters/http/types.ts'
export { type CageConfig, defineCage, defineNode, env, type NodeConfig } from './config.ts'
export { CageError, CODES, type Code, type ErrorBody, type ErrorOptions } from './errors.ts'
export type { Log } from './log.ts'
