/** `menagerie completion`: completion for shells. A script asks `menagerie complete-words` what may come next, which asks the bus for names. */
import type { Bus } from '../bus/bus.ts'
import { type Command, command } from './command.ts'
import { type Live, propose } from './complete.ts'
import { print, printJson } from './output.ts'
import { BUS_WORDS, busConfig, busOptions, connectOnce } from './session.ts'
import { readOneOf } from './values.ts'
import { flag, operand, readWords } from './words.ts'

/** Who completes waits for no bus that is slow. */
const PATIENCE_MS = 1_200
const QUIET_MS = 120

const SCRIPTS = {
  bash: `_menagerie() {
  local IFS=$'\\n'
  COMPREPLY=($("\${COMP_WORDS[0]}" complete-words "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _menagerie menagerie`,
  zsh: `#compdef menagerie
_menagerie() {
  local -a found
  found=("\${(@f)$("\${words[1]}" complete-words "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=("\${(@)found:#}")
  if (( \${#found} )); then compadd -- "\${found[@]}"; else _files; fi
}
compdef _menagerie menagerie`,
  fish: `function __menagerie_words
  set -l typed (commandline -opc) (commandline -ct)
  $typed[1] complete-words $typed[2..-1] 2>/dev/null
end
complete -c menagerie -a '(__menagerie_words)'`,
} as const

const completion = command({
  name: 'completion',
  summary: 'prints a script that has a shell complete commands, options and names',
  notes: `bash: in ~/.bashrc                     eval "$(menagerie completion bash)"
zsh:  in ~/.zshrc, after compinit      eval "$(menagerie completion zsh)"
fish: in ~/.config/fish/config.fish    menagerie completion fish | source
Names of cages, methods and queues are asked of the bus that the command line names; if it does not answer within a second there are none.`,
  words: { shell: operand('bash|zsh|fish', readOneOf('bash', 'zsh', 'fish')), json: flag('prints JSON') },
  examples: ['completion bash'],
  run: async ({ shell, json }) => {
    if (json) printJson({ shell, script: SCRIPTS[shell] })
    else print(SCRIPTS[shell])
    return 0
  },
})

/** `commands` are all of them. */
export function completionCommands(commands: () => readonly Command[]): Command[] {
  const completeWords: Command = {
    ...{ name: 'complete-words', usage: 'complete-words WORD...', summary: 'what may come next', words: {}, hidden: true },
    run: (typed) => complete(commands(), typed),
  }
  return [completion, completeWords]
}

/** One proposal a line. */
async function complete(commands: readonly Command[], typed: readonly string[]): Promise<number> {
  const { words, live, written } = propose(
    commands.filter(({ hidden }) => !hidden),
    typed,
  )
  for (const word of words) print(word)
  if (live === undefined) return 0
  const tooLate = new Promise<string[]>((resolve) => setTimeout(resolve, PATIENCE_MS, []))
  const names = await Promise.race([namesOf(live, typed).catch(() => []), tooLate]) // no bus: nothing to propose
  const text = names
    .filter((name) => name.startsWith(written))
    .map((name) => `${name}\n`)
    .join('')
  process.stdout.write(text, () => process.exit(0)) // a connection that is being tried would hold it up
  return 0
}

/** Of the bus that the line names so far. */
async function namesOf(live: Live, typed: readonly string[]): Promise<string[]> {
  const { values } = readWords([...typed.slice(0, -1)], { bus: BUS_WORDS.bus, config: BUS_WORDS.config })
  const configured = await busConfig(values.config ?? 'config')
  if (Array.isArray(configured)) return []
  return namesOn(await connectOnce('completion', busOptions(values.bus, configured)), live)
}

/** Sorted. */
export async function namesOn(bus: Pick<Bus, 'discover' | 'queues' | 'schedules'>, live: Live): Promise<string[]> {
  if (live === 'queue') return (await bus.queues.list()).map(({ queue }) => queue)
  if (live === 'schedule') return (await bus.schedules.list()).map(({ cage, name }) => `${cage}.${name}`).sort()
  const found = await bus.discover({ quietMs: QUIET_MS })
  const cages = found.map(({ cage }) => cage)
  const modules = found.flatMap(({ cage, methods }) => methods.map(({ module }) => `${cage}.${module}`))
  const methods = found.flatMap((copy) => copy.methods.map(({ module, method }) => `${copy.cage}.${module}.${method}`))
  const names = { cage: cages, place: [...cages, ...modules], method: methods }[live]
  return [...new Set(names)].sort()
}
