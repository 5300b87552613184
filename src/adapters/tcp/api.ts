/** What a module sees of a TCP or UDP resource. Types only; users import them from 'menagerie'. */

/** `interface CageResources { scale: TcpResource }`; with the encoding `bytes`: `TcpResource<Uint8Array>`. */
export interface TcpResource<Message extends string | Uint8Array = string> {
  /** Resolves when the system has taken the message; whether it arrives nobody tells. */
  send(message: Message | Uint8Array): Promise<void>
  /** The answer. */
  request(message: Message | Uint8Array): Promise<Message>
}

/** `interface CageResources { beacon: UdpResource }`. */
export interface UdpResource<Message extends string | Uint8Array = Uint8Array> {
  /** One datagram, which may be lost. */
  send(message: Message | string | Uint8Array): Promise<void>
  /** One datagram, and the first one that comes back from where it was sent. */
  request(message: Message | string | Uint8Array): Promise<Message>
}
