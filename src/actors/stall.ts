/** Where a stuck worker is: the inspector interrupts its running JavaScript and reads the stack. Nothing is attached before it is needed. */
import { Session } from 'node:inspector'
import { parse, relative, sep } from 'node:path'
import { compile, mapStack, rememberMap } from '../compile.ts'

/** The innermost frame of a module's own code. */
export interface Place {
  module: string
  method: string
  /** `file:line:column`. */
  where: string
}

interface Frame {
  functionName: string
  url: string
  location: { lineNumber: number; columnNumber?: number }
}

/** Code that the inspector cannot interrupt (a regular expression, a native call) is given up on after so long. */
const PATIENCE_MS = 500

/** Finds the module that a worker is stuck in, by the files under `cagesDir`; undefined if it cannot be told. */
export async function whereIs(threadId: number, cagesDir: string, cacheDir: string): Promise<Place | undefined> {
  const session = new Session()
  session.connect()
  try {
    const frames = await new Promise<Frame[]>((resolve) => {
      setTimeout(() => resolve([]), PATIENCE_MS)
      listen(session, 'NodeWorker.attachedToWorker', ({ sessionId, workerInfo }) => {
        if (Number(workerInfo.workerId) !== threadId) return
        for (const [id, method] of ['Debugger.enable', 'Debugger.pause'].entries()) {
          session.post('NodeWorker.sendMessageToWorker', { sessionId, message: JSON.stringify({ id, method }) })
        }
      })
      listen(session, 'NodeWorker.receivedMessageFromWorker', ({ message }) => {
        const event = JSON.parse(message) as { method?: string; params?: { callFrames: Frame[] } }
        if (event.method === 'Debugger.paused') resolve(event.params?.callFrames ?? [])
      })
      session.post('NodeWorker.enable', { waitForDebuggerOnStart: false })
    })
    return await placeOf(frames, cagesDir, cacheDir)
  } finally {
    session.disconnect()
  }
}

async function placeOf(frames: Frame[], cagesDir: string, cacheDir: string): Promise<Place | undefined> {
  const own = frames.filter(({ url }) => url.startsWith(cagesDir + sep))
  const [inner, outer] = [own[0], own.at(-1)] // the outermost frame of a module's file is its method, or what continues it
  if (!inner || !outer) return undefined
  const module = parse(relative(cagesDir, outer.url)).name
  await compile(inner.url, cacheDir).then(rememberMap, () => {}) // changed and broken by now: the line stays as it is
  const { lineNumber, columnNumber = 0 } = inner.location
  return { module, method: outer.functionName, where: mapStack(`${inner.url}:${lineNumber + 1}:${columnNumber + 1}`) }
}

interface InspectorEvents {
  'NodeWorker.attachedToWorker': { sessionId: string; workerInfo: { workerId: string } }
  'NodeWorker.receivedMessageFromWorker': { sessionId: string; message: string }
}

function listen<E extends keyof InspectorEvents>(session: Session, event: E, receive: (params: InspectorEvents[E]) => void): void {
  session.on(event as string, ({ params }: { params: InspectorEvents[E] }) => receive(params))
}
