/** Where a stuck worker is: the inspector interrupts its running JavaScript and reads the stack. Nothing is attached before it is needed. */
import { Session } from 'node:inspector'
import { parse, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compile } from '../compile.ts'
import { mapStack, rememberMap } from '../stack.ts'

/** The innermost frame of a module's own code. */
export interface Place {
  module: string
  method: string
  /** `file:line:column`. */
  where: string
}

interface Frame {
  functionName: string
  location: { scriptId: string; lineNumber: number; columnNumber?: number }
}

/** A message of the inspector's Debugger domain, as far as it is read here. */
type DebuggerEvent =
  | { method: 'Debugger.scriptParsed'; params: { scriptId: string; url: string } }
  | { method: 'Debugger.paused'; params: { callFrames: Frame[] } }
  | { method?: undefined }

/** Code that the inspector cannot interrupt (a regular expression, a native call) is given up on after so long. */
const PATIENCE_MS = 500

/** Finds the module that a worker is stuck in, by the files under `cagesDir`; undefined if it cannot be told. */
export async function whereIs(threadId: number, cagesDir: string, cacheDir: string): Promise<Place | undefined> {
  const session = new Session()
  session.connect()
  const urls = new Map<string, string>()
  let send = (_method: string): void => {}
  try {
    const frames = await new Promise<Frame[]>((resolve) => {
      setTimeout(() => resolve([]), PATIENCE_MS)
      listen(session, 'NodeWorker.attachedToWorker', ({ sessionId, workerInfo }) => {
        if (!workerInfo.title.startsWith(`[worker ${threadId}]`)) return // workerId counts per session, the title has the thread's id
        send = (method) => session.post('NodeWorker.sendMessageToWorker', { sessionId, message: JSON.stringify({ id: 1, method }) })
        send('Debugger.enable')
        send('Debugger.pause')
      })
      listen(session, 'NodeWorker.receivedMessageFromWorker', ({ message }) => {
        const event = JSON.parse(message) as DebuggerEvent
        if (event.method === 'Debugger.scriptParsed') urls.set(event.params.scriptId, event.params.url)
        if (event.method === 'Debugger.paused') resolve(event.params.callFrames)
      })
      session.post('NodeWorker.enable', { waitForDebuggerOnStart: false })
    })
    return await placeOf(frames, urls, cagesDir, cacheDir)
  } finally {
    send('Debugger.disable') // it goes on, so that it can be terminated
    session.disconnect()
  }
}

async function placeOf(frames: Frame[], urls: ReadonlyMap<string, string>, cagesDir: string, cacheDir: string): Promise<Place | undefined> {
  const own = frames.flatMap(({ functionName, location }) => {
    const url = urls.get(location.scriptId) ?? ''
    const file = url.startsWith('file://') ? fileURLToPath(url) : url
    return file.startsWith(cagesDir + sep) ? [{ functionName, location, file }] : []
  })
  const [inner, outer] = [own[0], own.at(-1)] // the outermost frame of a module's file is its method, or what continues it
  if (!inner || !outer) return undefined
  await compile(inner.file, cacheDir).then(rememberMap, () => {}) // changed and broken by now: the line stays as it is
  const { lineNumber, columnNumber = 0 } = inner.location
  return {
    module: parse(outer.file).name,
    method: outer.functionName,
    where: mapStack(`${inner.file}:${lineNumber + 1}:${columnNumber + 1}`),
  }
}

interface InspectorEvents {
  'NodeWorker.attachedToWorker': { sessionId: string; workerInfo: { title: string } }
  'NodeWorker.receivedMessageFromWorker': { sessionId: string; message: string }
}

function listen<E extends keyof InspectorEvents>(session: Session, event: E, receive: (params: InspectorEvents[E]) => void): void {
  session.on(event as string, ({ params }: { params: InspectorEvents[E] }) => receive(params))
}
