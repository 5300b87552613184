/** What we use of the package `smpp`, which has no types of its own: its tables (pdu.ts says why no more). */
declare module 'smpp' {
  interface Smpp {
    readonly commands: Readonly<
      Record<string, { readonly id: number; readonly params?: Readonly<Record<string, { readonly type: object }>> }>
    >
    readonly tlvs: Readonly<Record<string, { readonly id: number; readonly tag: string; readonly type: object }>>
    readonly types: Readonly<Record<string, object>> & { readonly tlv: Readonly<Record<string, object>> }
    readonly errors: Readonly<Record<string, number>>
  }
  const smpp: Smpp
  export default smpp
}
