import type { Log } from '../log.ts'
export interface Embedded { url: string; joined: boolean; stop(): Promise<void> }
export async function openEmbedded(_o: { binary: () => Promise<string>; port: number; dir: string; log: Log }): Promise<Embedded> { throw new Error('not there') }
