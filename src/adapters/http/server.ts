import type { InterfaceHost, Listener } from '../adapter.ts'
export async function listen(_o: { port: number }, _h: InterfaceHost): Promise<Listener> {
  throw new Error('not there')
}
