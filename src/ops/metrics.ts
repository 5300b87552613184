/** Metrics: what `/metrics` answers: the node's cages (families.ts), and its process as prom-client sees it. */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import type { Family } from './families.ts'

export class Metrics {
  readonly #node: string
  readonly #process = new Registry()

  constructor(node: string) {
    this.#node = node
    this.#process.setDefaultLabels({ node })
    collectDefaultMetrics({ register: this.#process })
  }

  readonly contentType: string = Registry.PROMETHEUS_CONTENT_TYPE

  async text(families: readonly Family[]): Promise<string> {
    const cages = new Registry()
    cages.setDefaultLabels({ node: this.#node })
    // prom-client asks a metric for nothing but its name and `get`
    for (const family of families) cages.registerMetric(metricOf(family) as unknown as Metric)
    return `${await cages.metrics()}\n${await this.#process.metrics()}`
  }

  close(): void {
    this.#process.clear()
  }
}

function metricOf({ name, help, type, samples }: Family): object {
  const values = samples.map(({ suffix, labels, value }) => ({ metricName: name + suffix, labels, value }))
  return { name, help, type, get: () => ({ name, help, type, values, aggregator: 'sum' }) }
}
