/** Options of the resource that is nothing: none. */
import { z } from 'zod'

export const voidOptions: z.ZodType<Record<string, never>> = z.strictObject({})
