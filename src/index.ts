/** The package's public door: what modules, configuration files and tools import from 'menagerie'. */
export type { Admin } from './actors/admin.ts'
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
  Notify,
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
  Adapter,
  Branch,
  Decision,
  HostNotifications,
  InterfaceCallOptions,
  InterfaceHost,
  InterfaceMemory,
  InterfaceQueueOptions,
  KeptNotification as Notification,
  Listener,
  NotificationLevel,
  ParticipantClass,
  Resource,
  ResourceConnection,
  ResourceHost,
  Scope,
} from './adapters/adapter.ts'
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
export type { ExecResource, RunOptions, RunResult } from './adapters/exec/api.ts'
export type { DroppedFile, FileEntry, FileResource, Overwrite } from './adapters/file/api.ts'
export type { HttpAnswer, HttpCall, HttpCallOptions, HttpResource, HttpStreamedAnswer } from './adapters/http/client-api.ts'
export type { HttpEvent, HttpRequest, HttpResponse } from './adapters/http/types.ts'
export type { JmsMessage, JmsResource, JmsSend, SendOptions as JmsSendOptions } from './adapters/jms/api.ts'
export type {
  AggregateOptions,
  BulkResult,
  DecimalValue,
  FindOptions,
  MongoDocument,
  MongoResource,
  MongoSession,
  ObjectIdValue,
  TransactionOptions as MongoTransactionOptions,
  UpdateResult,
} from './adapters/mongodb/api.ts'
export type { MysqlResource, MysqlRow, MysqlSession, TransactionOptions as MysqlTransactionOptions } from './adapters/mysql/api.ts'
export type {
  Binds,
  OracleResource,
  OracleRow,
  OracleSession,
  OracleTransactionOptions,
  OutBind,
} from './adapters/oracle/api.ts'
export type { CacheCall, CachePolicy, CacheSettings } from './adapters/pool/contract.ts'
export type {
  Isolation,
  PostgresResource,
  PostgresSession,
  Row,
  TransactionOptions as PostgresTransactionOptions,
} from './adapters/postgresql/api.ts'
export type { RedisCommandName, RedisCommandOptions, RedisReply, RedisResource, RedisSession, RedisWord } from './adapters/redis/api.ts'
export type {
  SmppAccepted,
  SmppAddress,
  SmppBind,
  SmppMessage,
  SmppOutcome,
  SmppOutgoing,
  SmppPeer,
  SmppReceipt,
  SmppReceived,
  SmppResource,
  SmppState,
  SmppSubmitted,
} from './adapters/smpp/api.ts'
export type { TcpResource, UdpResource } from './adapters/tcp/api.ts'
export type { Double, XmlrpcResource } from './adapters/xmlrpc/api.ts'
export type { QueueMode, QueueSummary } from './bus/queue/contract.ts'
export type {
  CopyStatus,
  Durations,
  Flow,
  InterfaceStatus,
  MethodStatus,
  ModuleStatus,
  QueueStatus,
  ResourceStatus,
  Step,
} from './bus/survey/contract.ts'
export { defineAdapter, defineCage, defineNode, env } from './define.ts'
export { CageError, CODES, type Code, type ErrorBody, type ErrorOptions } from './errors.ts'
export { addDurations, durationsSince, NO_DURATIONS, quantile } from './histogram.ts'
export type { Log } from './log.ts'
export { hashPassword, verifyPassword } from './password.ts'
export { PENDING } from './pending.ts'
export type { CageConfig, NodeConfig, PoolConfig, QueueConfig, ResourceConfig } from './settings.ts'
