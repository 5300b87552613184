import { z } from 'zod'
export const httpOptions: z.ZodType<{ port: number }> = z.looseObject({ port: z.number() })
