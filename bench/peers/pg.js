/** pg by itself, as its documentation shows. */
import pg from 'pg'

export async function connect(url) {
  const pool = new pg.Pool({ connectionString: url, max: 16 })
  return { call: async () => (await pool.query("select 'Hello, World!' as greeting, $1::int as n", [1])).rows[0] }
}
