/** The package's public door: what modules, configuration files and tools import from 'menagerie'. */
export type {
  CageModules,
  CageResources,
  Cages,
  Called,
  Calls,
  Context,
  ModuleCompensations,
  ModuleOptions,
  ModuleSchemas,
  QueuedCages,
  QueueOptions,
  Queues,
  RequestView,
  ResourceCallOptions,
  Sent,
  State,
  StateOptions,
  UntypedModule,
  UntypedResource,
  WithOptions,
} from './actors/contract.ts'
export type { Saga, Sagas, StepScope } from './actors/saga/contract.ts'
export type { Callable, Named, Transaction, TransactionOptions, TransactionReport } from './actors/transaction/contract.ts'
export type {
  Addresses,
  EmailResource,
  Letter,
  LetterAttachment,
  Mail,
  MailAddress,
  MailAttachment,
  RecipientOutcome,
  Sent as MailSent,
} from './adapters/email/api.ts'
export type { HttpRequest, HttpResponse } from './adapters/http/types.ts'
export type { CacheCall, CachePolicy, CacheSettings } from './adapters/pool/contract.ts'
export type {
  Isolation,
  PostgresResource,
  PostgresSession,
  Row,
  TransactionOptions as PostgresTransactionOptions,
} from './adapters/postgresql/api.ts'
export { defineCage, defineNode, env } from './define.ts'
export { CageError, CODES, type Code, type ErrorBody, type ErrorOptions } from './errors.ts'
export type { Log } from './log.ts'
export { PENDING } from './pending.ts'
export type { CageConfig, NodeConfig, PoolConfig, QueueConfig, ResourceConfig } from './settings.ts'
