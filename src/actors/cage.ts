/**
 * Cage: the supervisor actor of one worker thread. It hosts the cage's modules and interfaces and keeps them current.
 * G1. A module that cannot be compiled, loaded or started harms nobody: it is logged, and the next good save heals it.
 * G2. Changes are applied one after the other, in the order in which they settled.
 * G3. At the end: interfaces stop first, then modules finish what they accepted, then transactions are settled, then resources and the bus close.
 * It is long, because it is the one place that knows everything a cage is made of.
 */
import { join } from 'node:path'
import type { Drivers, InterfaceHost, Listener } from '../adapters/adapter.ts'
import type { Pool, PoolSource } from '../adapters/pool/contract.ts'
import type { Bus, Endpoint, Subscription } from '../bus/bus.ts'
import type { QueuePolicy } from '../bus/queue/contract.ts'
import type { Surveyed } from '../bus/survey/contract.ts'
import { type Compiled, compile, evaluate } from '../compile.ts'
import { CageError, toCageError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { CageSettings } from '../settings.ts'
import type { ContextSource } from './context.ts'
import type { ModuleOptions } from './contract.ts'
import { Flows } from './flows.ts'
import { InterfaceActor, interfaceHost } from './interface.ts'
import { ModuleActor, type ModuleHost } from './module.ts'
import { type Told, teller } from './notify.ts'
import { QueueActor, QueueDispatch } from './queue.ts'
import { Reporter, type WorkerReport } from './report.ts'
import { type OpenCache, Resources } from './resources.ts'
import { Recovery as SagaRecovery } from './saga/recovery.ts'
import { fileOf, moduleNames } from './sources.ts'
import { CopyState } from './status.ts'
import { Supervisor } from './supervisor.ts'
import type { WorkerPast } from './thread.ts'
import type { Tracer } from './tracer.ts'
import { Trail } from './trail.ts'
import { Coordinator } from './transaction/coordinator.ts'
import { makeVersion } from './version.ts'
import { watch } from './watcher.ts'

/** What the worker's entry gives a cage. */
export interface CageHost {
  readonly node: string
  readonly cage: string
  /** The folder of all cages. */
  readonly cagesDir: string
  /** Folder for what is made at run time. */
  readonly dataDir: string
  readonly bus: Bus
  readonly log: Log
  /** Kind → how its protocol is spoken. */
  readonly drivers: Drivers
  /** Makes the pool of a resource. */
  readonly openPool: (source: PoolSource) => Pool
  /** Makes the cache of what is read from one. */
  readonly openCache: OpenCache
  /** What `import ... from 'menagerie'` gives a module. */
  readonly door: object
  readonly version: string
  readonly past: WorkerPast
  /** If traces are told to somebody. */
  readonly tracer?: Tracer | undefined
  readonly markOf: (module: string, method: string) => number
  readonly enter: (mark: number) => void
  /** The module wants, or no longer wants, a worker of its own. */
  readonly onIsolate: (module: string, isolate: boolean) => void
  /** A child cannot be kept up. */
  readonly onEscalate: (error: Error) => void
}

/** Which modules this worker hosts: one alone, or all but some. */
export interface Placement {
  only?: string | undefined
  except: readonly string[]
}

export class Cage {
  readonly #host: CageHost
  readonly #modules = new Map<string, ModuleActor>()
  readonly #compiled = new Map<string, Compiled>()
  /** Modules whose newest file is not in service. */
  readonly #broken = new Set<string>()
  readonly #supervisor: Supervisor
  readonly #dispatch: QueueDispatch
  readonly #resources: Resources
  readonly #coordinator: Coordinator
  readonly #flows = new Flows()
  readonly #copy: CopyState
  readonly #reporter: Reporter
  readonly #trail: Trail
  readonly #tell: (told: Told) => void
  #settings: CageSettings
  #placement: Placement
  #versions = 0
  #requests = 0
  #changes: Promise<void> = Promise.resolve()
  #queues: Promise<void> = Promise.resolve()
  #watcher: { close(): Promise<void> } | undefined
  #discovery: Subscription | undefined
  #survey: Subscription | undefined
  #stopping = false

  constructor(host: CageHost, settings: CageSettings, placement: Placement) {
    this.#host = host
    this.#settings = settings
    this.#placement = placement
    this.#trail = new Trail(host.node, host.cage, host.tracer)
    this.#tell = teller(host.bus.notifications, host.cage, host.node)
    this.#resources = new Resources({ ...host, onCircuit: (resource, open, why) => this.#onCircuit(resource, open, why) })
    this.#coordinator = new Coordinator({
      ...{ bus: host.bus, cage: host.cage, log: host.log },
      resources: this.#resources,
      patienceMs: () => this.#settings.transactions.patienceMs,
      recovers: placement.only === undefined,
    })
    this.#supervisor = new Supervisor(host.log, host.onEscalate, settings.supervision)
    this.#dispatch = new QueueDispatch(host.bus, host.cage, this.#modules, (module) => this.#placement.except.includes(module), this.#flows)
    const { node, cage, version, bus, past } = host
    this.#copy = new CopyState({
      ...{ node, cage, version, only: placement.only, bus, past },
      ...{ modules: this.#modules, supervisor: this.#supervisor, resources: this.#resources, flows: this.#flows },
      kinds: () => this.#settings.interfaces,
    })
    this.#reporter = new Reporter(bus, cage, host.log, () => this.#copy.read())
  }

  /** Resolves when the modules are served and every interface has been tried once. */
  async start(): Promise<void> {
    const { bus, cage, version, log, node } = this.#host
    this.#survey = await bus.survey.serve(cage, this.#surveyed())
    await this.#resources.configure(this.#settings.resources)
    const begun = performance.now()
    await Promise.all((await this.#hosted()).map((name) => this.#reload(name, begun)))
    const metadata = { node, pid: String(process.pid), runtime: `menagerie ${version}`, node_version: process.version }
    this.#discovery = await bus.announce({
      name: cage,
      version,
      description: `cage ${cage} of node ${node}`,
      metadata,
      endpoints: () => this.#endpoints(),
    })
    log.info({ modules: [...this.#modules.keys()], instance: bus.id }, 'cage serves')
    this.#tellLife('cage.up', 'serves')
    this.#coordinator.start()
    this.#queues = this.#keepQueues() // nobody waits for a bus without JetStream
    const folders = [join(this.#host.cagesDir, cage), join(this.#host.cagesDir, '.shared')]
    this.#watcher = await watch(folders, log, (paths) => {
      const noticed = performance.now()
      this.#enqueue(() => this.#onChange(paths, noticed))
    })
    await this.#rescan() // what was saved between reading and watching
    this.#copy.state = 'serving'
    await this.#keepInterfaces() // last: to load a driver holds up for a tenth of a second the calls that are served already
  }

  /** Takes over a changed configuration or placement. */
  reconfigure(settings: CageSettings, placement: Placement): void {
    this.#enqueue(async () => {
      const old = this.#settings
      this.#settings = settings
      this.#placement = placement
      // what still runs on an old interface, queue or resource does not hold up the new one
      const ending = [this.#resources.configure(settings.resources)]
      for (const module of this.#modules.values()) module.reconfigure()
      await this.#rescan()
      for (const [kind, word] of [
        ['interfaces', 'interface'],
        ['queues', 'queue'],
      ] as const) {
        for (const [name, before] of Object.entries(old[kind])) {
          const changed = JSON.stringify(before) !== JSON.stringify(settings[kind][name])
          if (changed || placement.only !== undefined) ending.push(this.#supervisor.release(`${word} ${name}`))
        }
      }
      await this.#keepInterfaces()
      await this.#keepQueues()
      this.#host.log.info({}, 'configuration taken over')
      await Promise.all(ending)
    })
  }

  /** G3. Resolves when everything accepted has been answered. */
  async stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.#copy.state = 'stopping'
    this.#tellLife('cage.down', 'was asked to stop')
    await this.#watcher?.close()
    await this.#supervisor.stop()
    await Promise.all([this.#changes, this.#queues])
    await Promise.all([this.#discovery?.drain(), ...[...this.#modules.values()].map((module) => module.stop())])
    await this.#coordinator.stop()
    await this.#resources.stop()
    this.#copy.close()
    await this.#survey?.drain()
    await this.#host.bus.close()
  }

  #tellLife(kind: 'cage.up' | 'cage.down', what: string): void {
    const { cage, node, version } = this.#host
    if (this.#placement.only !== undefined) return // it is a module's own worker
    this.#tell({ level: 'info', kind, message: `cage ${cage} of node ${node} ${what}`, details: { pid: process.pid, version } })
  }

  #onCircuit(resource: string, open: boolean, why: CageError | undefined): void {
    const message = `resource ${resource} of cage ${this.#host.cage} is ${open ? 'taken for broken' : 'reachable again'}`
    const details = { resource, code: why?.code, reason: why?.message }
    this.#tell({ level: open ? 'error' : 'info', kind: open ? 'circuit.open' : 'circuit.closed', message, details, about: resource })
  }

  /** A module's own worker has ended: its queued calls are told. */
  died(module: string): void {
    this.#dispatch.died(module)
  }

  /** For the node's metrics and health; `whole`: queues and sagas too. */
  async report(whole: boolean): Promise<WorkerReport> {
    return await this.#reporter.report(whole)
  }

  /** The module that a file belongs to, for errors that come from nowhere. */
  moduleOf(stack: string): string | undefined {
    for (const [name, compiled] of this.#compiled) if (stack.includes(compiled.file)) return name
    return undefined
  }

  /** The method whose code a stack is in. */
  methodOf(stack: string): { module: string; method: string } | undefined {
    const module = this.moduleOf(stack)
    const file = module === undefined ? undefined : this.#compiled.get(module)?.file
    if (module === undefined || file === undefined) return undefined
    const methods = this.#modules.get(module)?.version?.methods
    const frames = stack.split('\n').filter((line) => line.includes(file))
    const names = frames.map((line) => /at (?:async )?(?:[\w$]+\.)?([\w$]+) /.exec(line)?.[1] ?? '')
    const method = names.findLast((name) => methods?.has(name)) // the outermost
    return method === undefined ? undefined : { module, method }
  }

  #enqueue(change: () => Promise<void>): void {
    this.#changes = this.#changes.then(async () => {
      if (!this.#stopping)
        await change().catch((error: unknown) => this.#host.log.error({ err: error }, 'a change could not be taken over'))
    })
  }

  #surveyed(): Surveyed {
    return {
      status: () => this.#copy.read(),
      find: (text) => this.#trail.steps.find(text),
      onStep: (listener) => this.#trail.steps.onStep(listener),
      setLogLevel: () => false,
    }
  }

  *#endpoints(): Iterable<Endpoint> {
    for (const module of this.#modules.values()) yield* module.endpoints()
  }

  async #onChange(paths: ReadonlySet<string>, noticed: number = performance.now()): Promise<void> {
    const affected = new Set<string>(this.#broken)
    for (const [name, { inputs }] of this.#compiled) if (inputs.some((input) => paths.has(input))) affected.add(name)
    const names = await this.#hosted()
    for (const name of names) {
      // new, or its file is another one now: an own file over a shared one
      if (!this.#compiled.has(name) || this.#compiled.get(name)?.file !== fileOf(this.#host.cagesDir, this.#host.cage, name))
        affected.add(name)
    }
    for (const name of affected) if (names.includes(name)) await this.#reload(name, noticed)
    await this.#removeAllBut(names)
  }

  async #rescan(): Promise<void> {
    await this.#onChange(new Set())
  }

  async #removeAllBut(names: readonly string[]): Promise<void> {
    for (const name of this.#broken) {
      if (names.includes(name)) continue
      this.#broken.delete(name)
      this.#copy.gone(name)
    }
    for (const [name, module] of this.#modules) {
      if (names.includes(name)) continue
      this.#modules.delete(name)
      this.#compiled.delete(name)
      this.#copy.gone(name)
      void module.stop().then(() => this.#host.log.info({ module: name }, 'module is gone'))
    }
  }

  /** Brings the newest file of a module into service, or says why not (G1). */
  async #reload(name: string, noticed: number): Promise<void> {
    const { log, cage, door, onIsolate } = this.#host
    const file = fileOf(this.#host.cagesDir, this.#host.cage, name)
    if (!file) return
    const before = performance.now()
    try {
      const compiled = await compile(file, join(this.#host.dataDir, 'cache'))
      if (compiled.empty && this.#modules.has(name)) throw new CageError('INVALID_ARGUMENT', `${file} is empty`) // it is being saved
      const version = makeVersion(++this.#versions, evaluate(compiled, door), compiled)
      const isolate = this.#settings.modules[name]?.isolate ?? version.options.isolate ?? false
      if (isolate !== (this.#placement.only === name)) onIsolate(name, isolate)
      if (isolate && this.#placement.only !== name) return
      const module = this.#modules.get(name) ?? new ModuleActor(name, this.#moduleHost(name), this.#contextSource(name))
      await module.swap(version)
      this.#modules.set(name, module)
      this.#compiled.set(name, compiled)
      this.#copy.loaded(name, performance.now() - noticed)
      if (this.#broken.delete(name))
        this.#tell({ level: 'info', kind: 'reload.healed', module: name, message: `module ${cage}.${name} is in service again` })
      log.info(
        { module: name, version: version.number, methods: [...version.methods.keys()], ms: Math.round(performance.now() - before) },
        'module in service',
      )
    } catch (error) {
      const wasBroken = this.#broken.has(name)
      this.#broken.add(name)
      this.#copy.broken(name, error instanceof Error ? error.message : String(error))
      const kept = this.#modules.get(name)?.version?.number
      if (!wasBroken) this.#tellRefused(name, kept, toCageError(error))
      log.error(
        { module: name, cage, kept, err: error },
        kept === undefined ? 'module cannot be taken into service' : 'new version refused, the old one goes on',
      )
    }
  }

  #tellRefused(module: string, kept: number | undefined, { code, message: reason }: CageError): void {
    const message = `module ${this.#host.cage}.${module} cannot be taken into service${kept === undefined ? '' : ', the version before goes on'}`
    this.#tell({ level: 'error', kind: 'reload.refused', module, message, details: { kept, code, reason } })
  }

  /** Names of the modules that this worker hosts. */
  async #hosted(): Promise<string[]> {
    const { only, except } = this.#placement
    const names = await moduleNames(this.#host.cagesDir, this.#host.cage)
    return names.filter((name) => (only === undefined ? !except.includes(name) : name === only))
  }

  #moduleHost(name: string): ModuleHost {
    const { bus, markOf, enter } = this.#host
    const configured = (): ModuleOptions & { defaultTimeoutMs: number } => ({
      ...this.#settings.modules[name],
      defaultTimeoutMs: this.#settings.timeoutMs,
    })
    return { bus, markOf, enter, configured, trail: this.#trail, newRequestId: () => this.#newRequestId() }
  }

  #contextSource(module: string): ContextSource {
    const { bus, node, cage, log } = this.#host
    const settings = (): CageSettings => this.#settings
    return {
      bus,
      node,
      cage,
      module,
      log: log.child({ module }),
      resources: this.#resources,
      coordinator: this.#coordinator,
      flows: this.#flows.of(module),
      trail: this.#trail,
      get values() {
        return settings().values
      },
    }
  }

  async #keepQueues(): Promise<void> {
    if (this.#placement.only !== undefined) return
    const { bus, cage, log } = this.#host
    if (!this.#supervisor.has('sagas')) await this.#supervisor.keep(new SagaRecovery(bus, cage, log))
    const missing = Object.entries(this.#settings.queues).filter(([name]) => !this.#supervisor.has(`queue ${name}`))
    const policyOf = (name: string, first: QueuePolicy) => (): QueuePolicy => this.#settings.queues[name] ?? first
    const starting = missing.map(([name, first]) => new QueueActor(name, bus, cage, policyOf(name, first), this.#dispatch))
    await Promise.all(starting.map((child) => this.#supervisor.keep(child)))
  }

  async #keepInterfaces(): Promise<void> {
    if (this.#placement.only !== undefined) return
    const starting = Object.entries(this.#settings.interfaces).map(async ([name, { kind, options }]) => {
      const driver = this.#host.drivers.get(kind)
      if (!driver?.listen || this.#supervisor.has(`interface ${name}`)) return
      const listen = driver.listen.bind(driver)
      await this.#supervisor.keep(
        new InterfaceActor(`interface ${name}`, (): Promise<Listener> => listen(options, this.#interfaceHost(name)), this.#host.log),
      )
    })
    await Promise.all(starting)
  }

  #interfaceHost(name: string): InterfaceHost {
    const { bus, log, dataDir, cage } = this.#host
    return interfaceHost({
      bus,
      cage,
      name,
      log: log.child({ interface: name }),
      dataDir: join(dataDir, 'interfaces', cage, name),
      timeoutMs: () => this.#settings.timeoutMs,
      newRequestId: () => this.#newRequestId(),
      trail: this.#trail,
      methodsOf: (module) => this.#methodsOf(module),
      flows: this.#flows.of(`interface ${name}`),
    })
  }

  #methodsOf(module: string): string[] | undefined {
    const version = this.#modules.get(module)?.version
    return version && [...version.methods.keys()]
  }

  #newRequestId(): string {
    return `${this.#host.bus.id}-${(++this.#requests).toString(36)}`
  }
}
