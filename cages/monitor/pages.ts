/**
 * Pages: everything that a browser asks for but the stream of events: the files of `page`, the API, logging in and acting.
 * P1. Every answer has the headers of lib/browser.ts, failures too.
 * P2. Reading is for whoever reaches us; acting is for whoever has logged in.
 */
import { createHash } from 'node:crypto'
import { readFile, realpath } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import { CageError, type Context, type HttpRequest, type HttpResponse } from 'menagerie'
import { checkAct, checkRequest, cookieOf, SECURITY } from './lib/browser.ts'
import type { Session } from './lib/model.ts'

const ROOT = join(import.meta.dirname, 'page')
const COOKIE = 'menagerie_monitor'

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
}

export async function serve(ctx: Context, request: HttpRequest): Promise<HttpResponse> {
  try {
    checkRequest(request, ctx.config)
    const { headers = {}, ...answer } = await answerTo(ctx, request)
    return { ...answer, headers: { ...SECURITY, 'cache-control': 'no-store', ...headers } }
  } catch (error) {
    if (!(error instanceof CageError) || error.code === 'INTERNAL') ctx.log.error({ err: error }, 'the monitor cannot answer')
    const { status, body } = failure(error)
    return { status, headers: { ...SECURITY, 'cache-control': 'no-store' }, body }
  }
}

async function answerTo(ctx: Context, request: HttpRequest): Promise<HttpResponse> {
  const { method, path } = request
  if (method === 'POST') return await post(ctx, request)
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, headers: { allow: 'GET, HEAD, POST' }, body: `${method} is not allowed here\n` }
  if (!path.startsWith('/api/')) return (await file(request)) ?? { status: 404, body: 'There is no such page\n' }
  const body = await read(ctx, request)
  if (body === undefined) throw new CageError('NOT_FOUND', 'there is nothing at this path')
  return { body }
}

async function read(ctx: Context, request: HttpRequest): Promise<unknown> {
  const [, , what = '', ...rest] = request.path.split('/')
  const id = rest.length === 0 ? undefined : decoded(rest.join('/'))
  const query = (name: string): string | undefined => [request.query[name]].flat()[0]
  const { overview, api } = ctx.cages.monitor
  switch (what) {
    case 'overview':
      return await overview.get()
    case 'history': {
      const range = query('range') ?? '15m'
      if (range !== '15m' && range !== '24h') throw new CageError('INVALID_ARGUMENT', 'range must be 15m or 24h')
      return await overview.history(query('name') ?? '', range)
    }
    case 'session':
      return await sessionOf(ctx, request)
    case 'dead':
      return id === undefined ? await api.dead(query('queue') || undefined, query('before') || undefined) : await api.deadLetter(Number(id))
    case 'sagas':
      return id === undefined ? await api.sagas() : await api.saga(id)
    case 'transactions':
      return id === undefined ? await api.transactions() : await api.transaction(id)
    case 'incidents':
      return await api.incidents()
    case 'notifications':
      return await api.notifications()
    case 'search':
      return await api.search(query('q') ?? '')
    default:
      return undefined
  }
}

async function post(ctx: Context, request: HttpRequest): Promise<HttpResponse> {
  const { path, protocol, ip } = request
  const body = checkAct(request)
  const attributes = `Path=/; HttpOnly; SameSite=Strict${protocol === 'https' ? '; Secure' : ''}`
  if (path === '/api/login') {
    const { user, password } = body
    if (typeof user !== 'string' || typeof password !== 'string') throw new CageError('INVALID_ARGUMENT', 'user and password are needed')
    const { cookie, maxAgeS } = await ctx.cages.monitor.access.login({ user, password, ip })
    const session: Session = { user, canLogIn: true }
    return { headers: { 'set-cookie': `${COOKIE}=${cookie}; Max-Age=${maxAgeS}; ${attributes}` }, body: session }
  }
  if (path === '/api/logout') return { headers: { 'set-cookie': `${COOKIE}=; Max-Age=0; ${attributes}` }, body: { ok: true } }
  if (path !== '/api/act') throw new CageError('NOT_FOUND', 'there is nothing at this path')
  const { user } = await sessionOf(ctx, request)
  if (user === undefined) throw new CageError('UNAUTHENTICATED', 'log in to act') // P2
  return { body: { ok: true, told: await ctx.cages.monitor.act.perform(user, body) } }
}

async function sessionOf(ctx: Context, request: HttpRequest): Promise<Session> {
  return await ctx.cages.monitor.access.session({ cookie: cookieOf(request, COOKIE) })
}

/** A file of the page, whatever the path and its symbolic links say. */
async function file({ path, headers }: HttpRequest): Promise<HttpResponse | undefined> {
  try {
    const name = decoded(path)
    const found = await realpath(join(ROOT, name.endsWith('/') ? `${name}index.html` : name))
    if (!found.startsWith((await realpath(ROOT)) + sep)) return undefined
    const body = await readFile(found)
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
    const known = { etag, 'cache-control': 'no-cache' }
    if (headers['if-none-match'] === etag) return { status: 304, headers: known }
    return { headers: { ...known, 'content-type': TYPES[extname(found)] ?? 'application/octet-stream' }, body }
  } catch {
    return undefined // badly encoded, with a NUL, a folder, or not there
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new CageError('INVALID_ARGUMENT', 'the path is badly encoded')
  }
}

/** 429 is not among the codes' own statuses: too many logins. */
function failure(error: unknown): { status: number; body: { code: string; message: string } } {
  if (!(error instanceof CageError) || error.code === 'INTERNAL')
    return { status: 500, body: { code: 'INTERNAL', message: 'internal error' } }
  const { code, message, status } = error
  return { status: code === 'OVERLOADED' ? 429 : code === 'FAILED_ORDER' ? 409 : status, body: { code, message } }
}
