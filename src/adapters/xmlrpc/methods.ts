/**
 * Methods: names that a client may call → what is called, and the methods of introspection and system.multicall.
 * M1. Only what the configuration names is reached: a method in `methods`, or any of a module in `modules`.
 * M2. The calls of a system.multicall are made one after the other, in their order, all within the deadline of the request, and as long as the client is there.
 *     One that the deadline leaves no time for is not made. There are at most MAX_CALLS, and none of them is of system.
 */
import { CageError, toCageError } from '../../errors.ts'
import { didYouMean, isMethodName } from '../../names.ts'
import type { InterfaceCallOptions, InterfaceHost } from '../adapter.ts'
import { FAULTS, type Fault, refusal } from './faults.ts'
import type { MethodCall } from './messages.ts'
import type { XmlrpcListenOptions, XmlrpcMethod } from './options.ts'

/** How a request's calls are made. */
export interface RequestCall extends InterfaceCallOptions {
  readonly timeoutMs: number
  /** Whether the client is still there. */
  readonly wanted: () => boolean
}

/** Of one system.multicall. */
const MAX_CALLS = 1_000

type Own = (params: unknown[], call: RequestCall) => unknown

export class Methods {
  readonly #host: InterfaceHost
  readonly #modules: ReadonlySet<string>
  readonly #named: ReadonlyMap<string, XmlrpcMethod>
  readonly #faultOf: (error: CageError) => Fault
  readonly #own: ReadonlyMap<string, Own> = new Map<string, Own>([
    ['system.listMethods', () => this.#list()],
    ['system.methodSignature', ([name]) => this.#signature(name)],
    ['system.methodHelp', ([name]) => this.#help(name)],
    ['system.multicall', ([calls], call) => this.#multicall(calls, call)],
  ])

  /** `faultOf` makes the faults within the answer of a system.multicall. */
  constructor({ modules, methods }: XmlrpcListenOptions, host: InterfaceHost, faultOf: (error: CageError) => Fault) {
    this.#host = host
    this.#modules = new Set(modules)
    this.#named = new Map(Object.entries(methods))
    this.#faultOf = faultOf
  }

  /** Rejects with a CageError. */
  async call({ name, params }: MethodCall, call: RequestCall): Promise<unknown> {
    const own = this.#own.get(name)
    return own ? await own(params, call) : await this.#host.call(this.#targetOf(name), params, call)
  }

  /** M1. */
  #targetOf(name: string): string {
    const target = this.#named.get(name)?.target ?? this.#exposed(name)
    if (target !== undefined) return target
    throw new CageError('NOT_FOUND', `there is no method ${name}${didYouMean(name, this.#list())}`, {
      details: { faultCode: FAULTS.methodNotFound },
    })
  }

  #exposed(name: string): string | undefined {
    const [module = '', method = '', ...rest] = name.split('.')
    if (rest.length > 0 || !this.#modules.has(module) || !isMethodName(method)) return undefined
    return this.#host.methodsOf(module)?.includes(method) === false ? undefined : name // one that is elsewhere answers for itself
  }

  #list(): string[] {
    const exposed = [...this.#modules].flatMap((module) => (this.#host.methodsOf(module) ?? []).map((method) => `${module}.${method}`))
    return [...new Set([...this.#own.keys(), ...this.#named.keys(), ...exposed])].sort()
  }

  /** The signatures; text where there are none, as the introspection of XML-RPC has it. */
  #signature(name: unknown): string[][] | string {
    const known = this.#own.has(String(name)) ? SIGNATURES[String(name)] : this.#described(name)?.signatures
    return known === undefined || known.length === 0 ? 'undef' : known
  }

  #help(name: unknown): string {
    return this.#own.has(String(name)) ? (HELP[String(name)] ?? '') : (this.#described(name)?.help ?? '')
  }

  /** What the configuration says of a method; throws NOT_FOUND for one that there is not. */
  #described(name: unknown): XmlrpcMethod | undefined {
    if (typeof name !== 'string') throw new CageError('INVALID_ARGUMENT', 'the name of a method is needed')
    this.#targetOf(name)
    return this.#named.get(name)
  }

  /** M2. */
  async #multicall(calls: unknown, call: RequestCall): Promise<unknown[]> {
    if (!Array.isArray(calls)) throw new CageError('INVALID_ARGUMENT', 'a list of structs with methodName and params is needed')
    if (calls.length > MAX_CALLS) throw new CageError('INVALID_ARGUMENT', `${calls.length} calls are more than ${MAX_CALLS}`)
    const deadline = Date.now() + call.timeoutMs
    const outcomes: unknown[] = []
    for (const each of calls as unknown[]) {
      if (!call.wanted()) throw new CageError('CANCELLED', 'the client has gone away')
      const outcome = await this.#oneOfMany(each, call, deadline).catch((error: unknown) => this.#faultOf(toCageError(error)))
      outcomes.push(outcome)
    }
    return outcomes
  }

  async #oneOfMany(given: unknown, call: RequestCall, deadline: number): Promise<[unknown]> {
    const timeoutMs = deadline - Date.now()
    if (timeoutMs <= 0) throw new CageError('DEADLINE_EXCEEDED', 'the deadline of the request has passed')
    const { methodName, params } = (typeof given === 'object' && given !== null ? given : {}) as Record<string, unknown> // looked at next
    if (typeof methodName !== 'string' || !Array.isArray(params)) {
      throw refusal(FAULTS.invalidParameters, 'a struct with methodName and params is needed')
    }
    if (this.#own.has(methodName)) throw refusal(FAULTS.invalidParameters, `system.multicall does not call ${methodName}`)
    return [await this.call({ name: methodName, params }, { ...call, timeoutMs })]
  }
}

const SIGNATURES: Readonly<Record<string, string[][]>> = {
  'system.listMethods': [['array']],
  'system.methodSignature': [['array', 'string']],
  'system.methodHelp': [['string', 'string']],
  'system.multicall': [['array', 'array']],
}

const HELP: Readonly<Record<string, string>> = {
  'system.listMethods': 'The names of the methods that can be called.',
  'system.methodSignature': 'The signatures of a method: each a list of types, that of the result first.',
  'system.methodHelp': 'What a method does.',
  'system.multicall':
    'Calls methods, each { methodName, params }, in their order; none of system. Of each: a list of its result, or its fault.',
}
