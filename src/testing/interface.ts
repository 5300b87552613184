/**
 * What every interface adapter does (src/adapters/adapter.ts, A1 to A5), tested with clients of its protocol and a real bus.
 * An adapter's test states what its protocol looks like from outside, and calls `interfaceConforms`.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { interfaceHost } from '../actors/interface.ts'
import { Trail } from '../actors/trail.ts'
import type { Adapter, Listener } from '../adapters/adapter.ts'
import type { Bus, Call, Outcome } from '../bus/bus.ts'
import { CageError, CODES } from '../errors.ts'
import { testBus } from './bus.ts'
import { recordingLog } from './log.ts'
import { type NatsServer, startNats } from './nats.ts'
import { atEnd, type Owner } from './owner.ts'
import { deferred, eventually, within } from './wait.ts'

/** A protocol, as its clients know it. */
export interface Protocol {
  /** For the tests' names. */
  name: string
  adapter: Adapter
  world(owner: Owner): Promise<World>
  /** What a client sees of each code of the runtime, and of `OWN`, a code of a module's own. */
  failures: Record<string, string>
  /** Its clients leave messages and do not wait at the door: nobody can tell that one has gone away. */
  leavesMessages?: true
}

/** The outside of one test. */
export interface World {
  /** As written in the configuration: a request calls `TARGET`, and its text is the first argument. */
  options: object
  /** Makes starts fail (port taken, server down); returns what ends that. */
  block(): Promise<() => Promise<void>>
  /** One request. Rejects if the interface cannot be reached. */
  ask(text: string): Promise<Seen>
  /** Sends a request and does not wait for its answer; returns how to go away. */
  askAndLeave(text: string): Promise<() => void>
  /** Ends the running interface from below, as if it had died. Requests are answered. */
  kill(): Promise<void>
}

/** What a client sees: the answer's text, or a failure as `Protocol.failures` has it, with everything that it says. */
export type Seen = { answer: string } | { failure: string; text: string }

/** The method that a request calls. */
export const TARGET = 'target.take'

const CAGE = 'conformance'
/** The deadline where a test is about it; elsewhere only a failure reaches it. */
const LIMIT_MS = 300
const PATIENT_MS = 20_000

/** A call that has arrived at the target, and what can be done about it. */
interface Arrived {
  call: Call
  settle(outcome: Outcome): void
  /** Resolves when the caller is gone. */
  cancelled: Promise<void>
}

interface Bench {
  world: World
  bus: Bus
  server: NatsServer
  /** Starts the interface, in a cage with this deadline; it is stopped with the test. */
  listen(timeoutMs?: number): Promise<Listener>
  /** The next call that arrives and that nobody has taken yet. */
  arrived(): Promise<Arrived>
  /** From now on calls are answered at once. */
  answering(outcome: (text: string) => Outcome): void
}

/** Holds a protocol to the contract. */
export function interfaceConforms(protocol: Protocol): void {
  const { name, failures } = protocol
  const it = (behaviour: string, run: (t: TestContext, bench: Bench) => Promise<void>): void => {
    test(`${name}: ${behaviour}`, async (t) => await run(t, await bench(t, protocol)))
  }

  it('a request becomes a call, and its result the answer', async (_t, { world, listen, arrived }) => {
    await listen()
    const asked = world.ask('hello')
    const { call, settle } = await arrived()
    assert.deepEqual([call.module, call.method, call.args[0]], ['target', 'take', 'hello'])
    assert.equal(call.request.parameters?.interface, 'tested')
    assert.equal(typeof call.request.parameters?.protocol, 'string')
    assert.ok(call.request.id.length > 0)
    settle({ ok: true, result: 'hello to you' })
    assert.deepEqual(await asked, { answer: 'hello to you' })
  })

  it('a hundred requests at once get each its own answer', async (_t, { world, listen, answering }) => {
    await listen()
    answering((text) => ({ ok: true, result: `answer to ${text}` }))
    const texts = Array.from({ length: 100 }, (_, n) => `question ${n}`)
    const seen = await Promise.all(texts.map((text) => world.ask(text)))
    assert.deepEqual(
      seen,
      texts.map((text) => ({ answer: `answer to ${text}` })),
    )
  })

  it('a start that cannot reach the world fails, and a later one succeeds', async (_t, { world, listen, answering }) => {
    const unblock = await world.block()
    await assert.rejects(listen())
    await unblock()
    await listen()
    answering(() => ({ ok: true, result: 'here' }))
    assert.deepEqual(await world.ask('where?'), { answer: 'here' })
  })

  it('stopped twice and started again, it serves', async (_t, { world, listen, answering }) => {
    answering(() => ({ ok: true, result: 'again' }))
    const first = await listen()
    assert.deepEqual(await world.ask('1'), { answer: 'again' })
    await Promise.all([first.stop(), first.stop()])
    await first.stop()
    await within('done resolves after stop', first.done)
    await assert.rejects(world.ask('2'))
    await listen()
    assert.deepEqual(await world.ask('3'), { answer: 'again' })
  })

  it('a stop lets what runs end, and takes nothing new', async (_t, { world, listen, arrived }) => {
    const listener = await listen()
    const asked = world.ask('slow')
    const { settle } = await arrived()
    let stopped = false
    const stopping = listener.stop().then(() => (stopped = true))
    await eventually(
      'nothing new is taken',
      async () =>
        await world.ask('late').then(
          () => false,
          () => true,
        ),
    )
    assert.equal(stopped, false, 'it waits for the running call')
    settle({ ok: true, result: 'in time' })
    assert.deepEqual(await asked, { answer: 'in time' })
    await within('it has stopped', stopping)
  })

  it('a call that is not answered by its deadline is answered with a timeout', async (_t, { world, listen, arrived }) => {
    await listen(LIMIT_MS)
    const begun = performance.now()
    const asked = world.ask('nobody answers')
    const { call } = await arrived()
    assert.ok(call.deadline - Date.now() <= LIMIT_MS, 'the callee knows the deadline')
    assert.equal(failureOf(await asked), failures.DEADLINE_EXCEEDED)
    assert.ok(performance.now() - begun >= LIMIT_MS - 5)
  })

  it('each code of a callee has its failure', async (_t, { world, listen, answering }) => {
    await listen()
    for (const code of [...Object.keys(CODES), 'OWN']) {
      answering(() => ({ ok: false, error: new CageError(code, `because of ${code}`) }))
      assert.equal(failureOf(await world.ask('fail')), failures[code], code)
    }
  })

  it('an internal error tells nothing of what went wrong', async (_t, { world, listen, answering }) => {
    await listen()
    answering(() => ({ ok: false, error: new CageError('INTERNAL', 'secret cause', { details: 'secret detail' }) }))
    const seen = await world.ask('fail')
    assert.equal(failureOf(seen), failures.INTERNAL)
    assert.doesNotMatch('text' in seen ? seen.text : '', /secret/)
  })

  it('while the bus is away requests are refused as unavailable, and served when it is back', async (_t, bench) => {
    const { world, listen, answering, bus, server } = bench
    await listen()
    answering(() => ({ ok: true, result: 'back' }))
    await server.kill()
    await eventually('the bus is known to be away', () => !bus.connected)
    assert.equal(failureOf(await world.ask('anybody?')), failures.UNAVAILABLE)
    await server.restart()
    await eventually('it is served again', async () => 'answer' in (await world.ask('anybody?')))
  })

  const { leavesMessages = false } = protocol
  const itWaits: typeof it = leavesMessages ? () => {} : it
  itWaits('a client that goes away cancels its call, and nobody else’s', async (_t, { world, listen, arrived }) => {
    await listen()
    const leave = await world.askAndLeave('leaving')
    const leaving = await arrived()
    const asked = world.ask('staying')
    const staying = await arrived()
    leave()
    await within('the callee hears of it', leaving.cancelled)
    staying.settle({ ok: true, result: 'still here' })
    assert.deepEqual(await asked, { answer: 'still here' })
  })

  it('an interface that dies by itself rejects done', async (_t, { world, listen, answering }) => {
    const listener = await listen()
    answering(() => ({ ok: true, result: 'alive' }))
    const died = assert.rejects(listener.done)
    await world.kill()
    await within('done rejects', died)
    await within('it can be stopped all the same', listener.stop())
  })
}

function failureOf(seen: Seen): string {
  return 'failure' in seen ? seen.failure : `no failure but ${seen.answer}`
}

/** The interface under test between a real bus and its clients; the target serves on a connection of its own. */
async function bench(t: TestContext, { adapter, world: makeWorld }: Protocol): Promise<Bench> {
  const server = await startNats(t)
  const [bus, serving] = await Promise.all([testBus(t, server.url), testBus(t, server.url)])
  const [module = ''] = TARGET.split('.')
  const waiting: Arrived[] = []
  const cancellations = new Map<Call, () => void>()
  let answer: ((text: string) => Outcome) | undefined
  await serving.serve(CAGE, module, {
    handle(call, settle) {
      if (answer) return settle(answer(String(call.args[0])))
      const { promise, resolve } = deferred<void>()
      cancellations.set(call, resolve)
      waiting.push({ call, settle, cancelled: promise })
    },
    cancel: (call) => cancellations.get(call)?.(),
  })
  await serving.announce({ name: CAGE, version: '0.0.0', description: '', metadata: {}, endpoints: () => [] }) // takes cancellations
  const world = await makeWorld(t)
  const dataDir = mkdtempSync(join(tmpdir(), 'menagerie-interface-'))
  atEnd(t, () => rmSync(dataDir, { recursive: true, force: true }))
  let requests = 0
  const source = {
    bus,
    cage: CAGE,
    name: 'tested',
    log: recordingLog().log,
    dataDir,
    newRequestId: () => `r${++requests}`,
    trail: new Trail('test', CAGE),
  }
  return {
    world,
    bus,
    server,
    answering: (outcome) => (answer = outcome),
    arrived: () => eventually('a call arrives', () => waiting.shift()),
    async listen(timeoutMs = PATIENT_MS) {
      if (!adapter.listen || !adapter.options) throw new Error(`${adapter.kind} is no interface`)
      const listener = await adapter.listen(adapter.options.parse(world.options), interfaceHost({ ...source, timeoutMs: () => timeoutMs }))
      atEnd(t, () => listener.stop())
      return listener
    },
  }
}
