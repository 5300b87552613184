// @ts-check
/** What is asked of the monitor cage: JSON over HTTP, of this origin only. */

/** @typedef {import('../lib/model.ts').Session} Session */
/** @typedef {import('../lib/model.ts').Act} Act */

/** What went wrong with a request; `status` 0: there was no answer. */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<unknown>} */
export function get(path, signal) {
  return ask(path, { signal: signal ?? null })
}

/** @param {Act} act @returns {Promise<{ told: unknown }>} */
export async function act(act) {
  return /** @type {{ told: unknown }} */ (await post('/api/act', act))
}

/** @param {string} user @param {string} password @returns {Promise<Session>} */
export async function login(user, password) {
  return /** @type {Session} */ (await post('/api/login', { user, password }))
}

/** @returns {Promise<unknown>} */
export function logout() {
  return post('/api/logout', {})
}

/** @returns {Promise<Session>} */
export async function session() {
  return /** @type {Session} */ (await get('/api/session'))
}

/** @param {string} path @param {unknown} body */
function post(path, body) {
  return ask(path, { method: 'POST', headers: { 'content-type': 'application/json', 'x-menagerie': 'act' }, body: JSON.stringify(body) })
}

/** @param {string} path @param {RequestInit} options */
async function ask(path, options) {
  const answer = await fetch(path, { ...options, credentials: 'same-origin', cache: 'no-store' }).catch((error) => {
    if (error.name === 'AbortError') throw error
    throw new ApiError(0, 'UNAVAILABLE', 'the monitor does not answer')
  })
  const body = await answer.json().catch(() => undefined)
  if (answer.ok) return body
  const { code, message } = typeof body === 'object' && body !== null ? body : {}
  throw new ApiError(answer.status, String(code ?? answer.status), String(message ?? `the monitor answered ${answer.status}`))
}
