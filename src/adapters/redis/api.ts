/** What a module sees of a Redis resource. Types only; users import them from 'menagerie'. */

/** One word of a command: text and numbers as text, bytes as they are. */
export type RedisWord = string | number | bigint | Uint8Array

/** As it came: text, bytes if they were asked for, a bigint where a number would not be exact, lists, and objects of maps. */
export type RedisReply = string | Uint8Array | number | bigint | boolean | null | RedisReply[] | { [field: string]: RedisReply }

/** How a reply is read. */
export interface RedisCommandOptions {
  /** Strings are bytes, and maps lists of field, value, field ... Default false. */
  bytes?: boolean | undefined
}

/** Commands that are methods, too. Any other one may be called by its name in the same way, or as `command(['NAME', ...])`. */
export type RedisCommandName =
  | (
      | 'append'
      | 'decr'
      | 'decrby'
      | 'del'
      | 'exists'
      | 'expire'
      | 'get'
      | 'getdel'
      | 'getex'
      | 'incr'
      | 'incrby'
      | 'mget'
      | 'mset'
      | 'persist'
      | 'pexpire'
    )
  | (
      | 'pttl'
      | 'rename'
      | 'scan'
      | 'set'
      | 'ttl'
      | 'type'
      | 'unlink'
      | 'hdel'
      | 'hexists'
      | 'hget'
      | 'hgetall'
      | 'hincrby'
      | 'hmget'
      | 'hset'
      | 'hsetnx'
    )
  | (
      | 'blmove'
      | 'blpop'
      | 'brpop'
      | 'llen'
      | 'lmove'
      | 'lpop'
      | 'lpush'
      | 'lrange'
      | 'lrem'
      | 'ltrim'
      | 'rpop'
      | 'rpush'
      | 'publish'
      | 'ping'
    )
  | (
      | 'sadd'
      | 'scard'
      | 'sismember'
      | 'smembers'
      | 'spop'
      | 'srem'
      | 'zadd'
      | 'zcard'
      | 'zincrby'
      | 'zrange'
      | 'zrangebyscore'
      | 'zrank'
      | 'zrem'
      | 'zscore'
    )
  | (
      | 'xack'
      | 'xadd'
      | 'xautoclaim'
      | 'xdel'
      | 'xlen'
      | 'xrange'
      | 'xread'
      | 'xreadgroup'
      | 'xtrim'
      | 'pfadd'
      | 'pfcount'
      | 'getbit'
      | 'setbit'
    )

/** A Redis resource: `interface CageResources { cache: RedisResource }`. */
export interface RedisResource extends Readonly<Record<RedisCommandName, (...words: RedisWord[]) => Promise<RedisReply>>> {
  command(words: readonly RedisWord[], options?: RedisCommandOptions): Promise<RedisReply>
  /** Runs a Lua script; it is sent once to a server, then known by its hash. */
  script(source: string, keys?: readonly RedisWord[], args?: readonly RedisWord[], options?: RedisCommandOptions): Promise<RedisReply>
  /** MULTI ... EXEC: the replies of all; nobody sees a state in between. In a transaction they are sent at its commit: 'QUEUED'. */
  batch(commands: readonly (readonly RedisWord[])[], options?: RedisCommandOptions): Promise<RedisReply[] | 'QUEUED'>
  /** Reads under WATCH, then does all that was queued, or CONFLICT if one of the keys has changed meanwhile. */
  run<T>(keys: readonly RedisWord[], work: (session: RedisSession) => Promise<T>): Promise<T>
}

/** What can be done under WATCH. */
export interface RedisSession {
  /** Now: commands that only read. */
  read(words: readonly RedisWord[], options?: RedisCommandOptions): Promise<RedisReply>
  /** When `work` has ended. */
  queue(...words: RedisWord[]): void
}
