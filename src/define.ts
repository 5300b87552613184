/** What configuration files are written with. Apart from config.ts, because every worker has it and none needs zod. */
import type { CageConfig, NodeConfig } from './settings.ts'

/** Types a cage's configuration: `export default defineCage({ ... })`. */
export function defineCage(config: CageConfig): CageConfig {
  return config
}

/** Types `config/node.ts`: `export default defineNode({ ... })`. */
export function defineNode(config: NodeConfig): NodeConfig {
  return config
}

/** A value of the environment, for secrets and what differs from machine to machine. A missing one without a fallback is a mistake in the configuration. */
export function env(name: string, fallback?: string): string {
  const value = process.env[name] ?? fallback
  if (value === undefined) throw new Error(`the environment has no ${name}, which the configuration needs`)
  return value
}
