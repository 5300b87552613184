/** What a module sees of files. Types only; users import them from 'menagerie'. */

/** What a drop folder's method gets: `take(ctx, file)`. */
export interface DroppedFile<Content = Uint8Array> {
  readonly name: string
  readonly bytes: number
  readonly modifiedAt: Date
  /** Counts from 1; more than 1: it was begun before, and failed, or nobody knows. */
  readonly attempt: number
  /** Undefined with `content: 'path'`. */
  readonly content: Content
  /** Where it lies while the call runs, with `content: 'path'`. */
  readonly path?: string
}

export interface FileEntry {
  readonly name: string
  readonly folder: boolean
  readonly bytes: number
  readonly modifiedAt: Date
}

/** Whether what is there is replaced. Default: true. */
export interface Overwrite {
  overwrite?: boolean
}

/** Files below a folder, with names like `a/b.txt`: `interface CageResources { out: FileResource }`. */
export interface FileResource {
  read(name: string): Promise<Uint8Array>
  /** Of UTF-8. */
  readText(name: string): Promise<string>
  /** All or nothing, and on the disk when it resolves. Folders are made. */
  write(name: string, content: string | Uint8Array, options?: Overwrite): Promise<void>
  /** To what is there, or to nothing. Not in a transaction. */
  append(name: string, content: string | Uint8Array): Promise<void>
  /** False if it was not there. */
  remove(name: string): Promise<boolean>
  move(from: string, to: string, options?: Overwrite): Promise<void>
  /** What lies directly in a folder, by name; default: in the resource's own. Of the pattern: `*` is any text, `?` any character. */
  list(folder?: string, pattern?: string): Promise<FileEntry[]>
  stat(name: string): Promise<FileEntry | undefined>
}
