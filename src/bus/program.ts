/** The program nats-server: found, or installed. */

/** Its path. `say` is told each step of an installation; rejects with the command to run by hand where there can be none. */
export async function natsServerProgram(dataDir: string, say: (line: string) => void): Promise<string> {
  const installer = (await import(new URL('../../scripts/nats-server.js', import.meta.url).href)) as Installer
  return installer.findNatsServer(dataDir) ?? (await installer.installNatsServer(dataDir, say))
}

/** scripts/nats-server.js: plain JavaScript, because it also runs before anything is built. */
interface Installer {
  findNatsServer(dir: string): string | undefined
  installNatsServer(dir: string, say: (line: string) => void): Promise<string>
}
