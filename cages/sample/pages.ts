import { open, realpath } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import type { Context, HttpRequest, HttpResponse } from 'menagerie'

const ROOT = join(import.meta.dirname, 'html')

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
}

/** Serves the files of `html`: whatever no route matches comes here. */
export async function serve(_ctx: Context, request: HttpRequest): Promise<HttpResponse> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, headers: { allow: 'GET, HEAD' }, body: `${request.method} is not allowed here\n` }
  }
  const file = await fileOf(request.path)
  const page = file === undefined ? undefined : await read(file, request.headers['if-none-match'])
  return page ?? { status: 404, body: 'There is no such page\n' }
}

/** The file that a path means, if it lies within the folder, whatever the path and its symbolic links say. */
async function fileOf(path: string): Promise<string | undefined> {
  try {
    const decoded = decodeURIComponent(path)
    const file = await realpath(join(ROOT, decoded.endsWith('/') ? `${decoded}index.html` : decoded))
    return file.startsWith((await realpath(ROOT)) + sep) ? file : undefined
  } catch {
    return undefined // badly encoded, with a NUL, or not there
  }
}

async function read(file: string, known: string | string[] | undefined): Promise<HttpResponse | undefined> {
  const handle = await open(file)
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) return undefined
    const etag = `"${stat.size.toString(36)}-${stat.mtimeMs.toString(36)}"`
    const headers = { etag, 'last-modified': stat.mtime.toUTCString(), 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' }
    if (known === etag) return { status: 304, headers }
    return {
      headers: { ...headers, 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' },
      body: await handle.readFile(),
    }
  } finally {
    await handle.close()
  }
}
