/** SMPP as an interface: a client of a server that delivers to us (esme.ts), or a server (smsc.ts). */
import type { InterfaceHost, Listener } from '../adapter.ts'
import { receive } from './esme.ts'
import type { SmppReceiverOptions, SmppServerOptions } from './options.ts'
import { serve } from './smsc.ts'

export async function listen(options: SmppReceiverOptions | SmppServerOptions, host: InterfaceHost): Promise<Listener> {
  return options.mode === 'esme' ? await receive(options, host) : await serve(options, host)
}
