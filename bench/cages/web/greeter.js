export async function hello(_ctx, name) {
  return { greeting: `Hello, ${name}!`, n: 1 }
}
