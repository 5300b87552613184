/** What every contestant's responder answers. */
export async function hello(_ctx, name) {
  return { greeting: `Hello, ${name}!`, n: 1 }
}

let started = []

/** What every contestant's worker does with a durable call. */
export async function work(_ctx, at) {
  started.push(Number(process.hrtime.bigint() - BigInt(at)) / 1e6)
}

/** From enqueueing to the start of each call since the last question, ms. */
export async function latencies() {
  const all = started
  started = []
  return all
}
