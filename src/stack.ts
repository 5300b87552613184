/** Stack traces of compiled files, with the lines of their sources. One registry per thread. */
import { SourceMap } from 'node:module'
import { dirname, join } from 'node:path'

/** Source maps (JSON) by file, the latest version of each. */
const sources = new Map<string, string>()

/** Keeps the source map of a file as it runs now. */
export function rememberMap({ file, map }: { file: string; map: string }): void {
  sources.set(file, map)
}

/** The text with every `file:line:column` of a compiled file as it stands in its source. */
export function mapStack(stack: string): string {
  return stack.replace(/([^\s()]+\.[cm]?[jt]s):(\d+):(\d+)/g, (place, file: string, line: string, column: string) => {
    const map = sources.get(file)
    if (map === undefined) return place
    const entry = new SourceMap(JSON.parse(map)).findEntry(Number(line) - 1, Number(column) - 1)
    if (!('originalLine' in entry)) return place
    return `${join(dirname(file), entry.originalSource)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
  })
}
