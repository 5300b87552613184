/** What configuration files and adapters of the user's own are written with. Apart from config.ts, because every worker has it and none needs zod. */
import type { Adapter } from './adapters/adapter.ts'
import type { CageConfig, NodeConfig } from './settings.ts'

/** Types a cage's configuration: `export default defineCage({ ... })`. */
export function defineCage(config: CageConfig): CageConfig {
  return config
}

/** Types `config/node.ts`: `export default defineNode({ ... })`. */
export function defineNode(config: NodeConfig): NodeConfig {
  return config
}

/** Types an adapter of your own: `export const adapter = defineAdapter({ ... })` (docs/adapters/writing.md). Its `kind` is what the configuration calls it. */
export function defineAdapter<Options = never, ResourceOptions = never>(
  adapter: Omit<Adapter<Options, ResourceOptions>, 'kind'>,
): Omit<Adapter<Options, ResourceOptions>, 'kind'> {
  return adapter
}

/** A value of the environment, for secrets and what differs from machine to machine. A missing one without a fallback is a mistake in the configuration. */
export function env(name: string, fallback?: string): string {
  const value = process.env[name] ?? fallback
  if (value === undefined) throw new Error(`the environment has no ${name}, which the configuration needs`)
  return value
}
