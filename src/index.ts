/** The package's public door: what modules, configuration files and tools import from 'menagerie'. */
export type {
  Cages,
  Called,
  CageModules,
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
export { CageError, type Code, CODES, type ErrorBody, type ErrorOptions } from './errors.ts'
export type { Log } from './log.ts'
