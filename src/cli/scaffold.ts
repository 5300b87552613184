/** What `menagerie new` writes: files by their places in the project. Pure. */

export type Files = Record<string, string>

/** A module, and a test that runs its cage. */
export function moduleFiles(cage: string, module: string): Files {
  return {
    [`cages/${cage}/${module}.ts`]: `/** Module ${cage}.${module}: say here what it is for. Every exported function can be called. */
${importOf('{ CageError, type Context }', 'menagerie')}

/** Greets \`name\`. Other modules call it by \`ctx.cages${member(cage)}${member(module)}.hello('World')\`. */
export async function hello(ctx: Context, name: string): Promise<string> {
  if (typeof name !== 'string' || name === '') throw new CageError('INVALID_ARGUMENT', 'a name is needed: hello(name)')
  ctx.log.debug({ name }, 'greeted')
  return \`Hello, \${name}!\`
}
`,
    [`test/${cage}.${module}.test.js`]: `// Runs cage ${cage} on a nats-server of its own: node --test test/${cage}.${module}.test.js
${importOf('assert', 'node:assert/strict')}
${importOf('{ test }', 'node:test')}
${importOf('{ runCages }', 'menagerie/testing')}

test('${cage}.${module}: hello greets whoever has a name', async (t) => {
  const { cages } = await runCages(t, ['${cage}'])
  assert.equal(await cages${member(cage)}${member(module)}.hello('World'), 'Hello, World!')
  await assert.rejects(cages${member(cage)}${member(module)}.hello(''), { code: 'INVALID_ARGUMENT' })
})
`,
  }
}

/** A cage with a first module, its test, and its configuration. */
export function cageFiles(cage: string): Files {
  return {
    ...moduleFiles(cage, 'greeter'),
    [`config/${cage}.ts`]: `${importOf('{ defineCage }', 'menagerie')}

/** What holds for cage ${cage}: besides these \`interfaces\`, \`resources\`, \`modules\`, and \`values\`, which its modules find in \`ctx.config\`. */
export default defineCage({
  timeoutMs: 10_000, // of a call whose caller names none, and the limit of every call
  queues: { retry: {} }, // durable calls: ctx.queue('retry').cages...
})
`,
  }
}

/** An adapter of the project's own: a resource, held to the contract. */
export function adapterFiles(name: string): Files {
  return {
    [`adapters/${name}.ts`]: `/**
 * Adapter ${name}: say here which protocol it speaks, and by which specification.
 *
 *   resources: { ${keyOf(name)}: { kind: 'adapters/${name}.ts', suffix: '!' } }
 *   await ctx.resources${member(name)}.echo('hello')
 */
${importOf('{ CageError, defineAdapter }', 'menagerie')}
${importOf('{ z }', 'zod')}

export const adapter = defineAdapter({
  resourceOptions: z.strictObject({ suffix: z.string().default('!') }),
  open: async ({ suffix }, host) => ({
    // what is opened here is one connection, for one piece of work at a time: the pool is the runtime's
    connect: async () => ({
      participant: 'irreversible', // what it can promise a transaction
      broken: false,
      async call(method: string, args: unknown[]) {
        if (method !== 'echo') throw new CageError('INVALID_ARGUMENT', \`\${host.name} has no method \${method}\`)
        return \`\${args[0]}\${suffix}\`
      },
      async close() {},
    }),
  }),
})
`,
    [`test/${name}.adapter.test.js`]: `// Holds the adapter to the contract of a resource: node --test test/${name}.adapter.test.js
${importOf('{ loadAdapter, resourceConforms }', 'menagerie/testing')}

resourceConforms({
  name: '${name}',
  adapter: await loadAdapter('adapters/${name}.ts'),
  options: () => ({ suffix: '?' }),
  quick: { method: 'echo', args: ['really'], result: 'really?' },
  // server: { slow, running, sessions, stop, start, freeze, thaw, refused }   once the protocol has one: then its failures are tested too
})
`,
  }
}

export interface Versions {
  /** Of this package. */
  menagerie: string
  typescript: string
}

/** A project with a cage. */
export function projectFiles(name: string, versions: Versions): Files {
  const manifest = {
    ...{ name, version: '0.0.0', private: true, type: 'module' },
    scripts: { start: 'menagerie start --cage hello', test: 'node --test', check: 'menagerie types --check && tsc -p .' },
    dependencies: { menagerie: versions.menagerie },
    devDependencies: { typescript: versions.typescript },
  }
  const compilerOptions = {
    ...{ target: 'es2023', module: 'nodenext', types: [] },
    ...{ strict: true, noUncheckedIndexedAccess: true },
    ...{ verbatimModuleSyntax: true, allowImportingTsExtensions: true, skipLibCheck: true, noEmit: true },
  }
  return {
    'package.json': `${JSON.stringify(manifest, null, 2)}\n`,
    'tsconfig.json': `${JSON.stringify({ compilerOptions, include: ['cages', 'config', 'adapters'] }, null, 2)}\n`,
    '.gitignore': 'node_modules/\n.menagerie/\n',
    ...cageFiles('hello'),
  }
}

function importOf(names: string, from: string): string {
  return `import ${names} from '${from}'`
}

/** As a formatter has it: `.shop`, `['my-shop']`. */
function member(name: string): string {
  return name.includes('-') ? `['${name}']` : `.${name}`
}

function keyOf(name: string): string {
  return name.includes('-') ? `'${name}'` : name
}
