/** Defaults that a node needs before it has read its configuration. The schemas have them from here. */

/** Heap limit of a cage's worker, MB. */
export const MEMORY_MB = 1_024
