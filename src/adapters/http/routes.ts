/**
 * Routes: what `'GET /orders/:id?fields'` means. Pure; the configuration is checked with it, and the server built from it.
 * R1. The number and order of a method's arguments follow from the route alone, never from the request: the path's parameters,
 *     the query's parameters that the route names, and the body where the method has one.
 */

/** A route, taken apart. */
export interface Route {
  readonly method: string
  /** `/orders/:id`, as Fastify has it. */
  readonly path: string
  /** Names in the path, in their order. */
  readonly parameters: readonly string[]
  /** Names of the query, in the order declared. */
  readonly query: readonly string[]
  /** Whether the body is the last argument. */
  readonly takesBody: boolean
}

const ROUTE = /^([A-Z]+) (\/[^\s?#]*)(?:\?(\S*))?$/
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']
const WITH_BODY = ['POST', 'PUT', 'PATCH']
const LITERAL = /^[\w.~!$&'+,;=@-]*$/ // RFC 3986, 3.3: what a segment holds unencoded, without what the router reads itself
const PARAMETER = /^:([A-Za-z_]\w*)$/
const QUERY_NAME = /^[\w.~[\]-]+$/

/** Reads a route; a text says what is wrong with it. */
export function parseRoute(text: string): Route | string {
  const [, method = '', path = '', search] = ROUTE.exec(text) ?? []
  if (method === '') return `a route is METHOD /path, such as 'GET /orders/:id'`
  if (method === 'HEAD') return 'HEAD is answered by the route of GET'
  if (!METHODS.includes(method)) return `unknown method ${method} (known: ${METHODS.join(', ')}); the handler gets all others`
  const parameters: string[] = []
  for (const segment of path.slice(1).split('/')) {
    const name = PARAMETER.exec(segment)?.[1]
    if (name !== undefined) parameters.push(name)
    else if (!LITERAL.test(segment)) return `${JSON.stringify(segment)} is neither text nor a :parameter`
  }
  const query = search === undefined ? [] : search.split('&')
  for (const name of query) if (!QUERY_NAME.test(name)) return `${JSON.stringify(name)} is no name of a query's parameter`
  const names = [...parameters, ...query]
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) return `${twice} stands there twice`
  return { method, path, parameters, query, takesBody: WITH_BODY.includes(method) }
}

/** What two routes that no request can tell apart have in common. */
export function shapeOf({ method, path }: Route): string {
  return `${method} ${path.replace(/:\w+/g, ':')}`
}

/** The methods that routes have for a path as it came, for 405's `Allow`; none if no route knows the path. */
export function allowedMethods(routes: readonly Route[], path: string): string[] {
  const segments = path.split('/').map(decodeURIComponent) // the router has refused what does not decode
  const fits = (route: Route): boolean => {
    const pattern = route.path.split('/')
    return pattern.length === segments.length && pattern.every((part, i) => part.startsWith(':') || part === segments[i])
  }
  const methods = new Set(routes.filter(fits).map(({ method }) => method))
  if (methods.has('GET')) methods.add('HEAD')
  return [...methods].sort()
}
