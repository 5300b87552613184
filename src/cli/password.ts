/** `menagerie password`: makes what is kept of a password, for a configuration such as the monitor's. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { hashPassword } from '../password.ts'
import { type Command, command } from './command.ts'
import { print } from './output.ts'

const password = command({
  name: 'password',
  summary: "prints the hash of a password, for the monitor's users",
  notes: 'Asks for it without showing it; without a terminal it is the first line of standard input.',
  words: {},
  examples: ['password', 'password < /run/secrets/ann'],
  run: async () => {
    print(await hashPassword(process.stdin.isTTY ? await ask() : await firstLine()))
    return 0
  },
})

export const PASSWORD_COMMANDS: Command[] = [password]

async function ask(): Promise<string> {
  const first = await hidden('password: ')
  if ((await hidden('once more: ')) !== first) throw new Error('these are two passwords')
  return first
}

/** A line that is not shown. */
function hidden(question: string): Promise<string> {
  process.stderr.write(question)
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true })
  return new Promise((resolve, reject) => {
    lines.once('line', (line) => {
      resolve(line)
      lines.close()
    })
    lines.once('close', () => {
      process.stderr.write('\n')
      reject(new Error('no password was given'))
    })
  })
}

async function firstLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line
  throw new Error('standard input is empty, it should hold the password')
}
