/** The codec of XML-RPC: what it reads, what it writes, and what it refuses. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Answer, Codec } from '../../src/adapters/xmlrpc/messages.ts'
import { CageError } from '../../src/errors.ts'

const codec = new Codec({ extensions: true, maxDepth: 8 })
const strict = new Codec({ extensions: false, maxDepth: 8 })

/** What a result of this XML is. */
function read(value: string, contentType?: string): unknown {
  const answer = codec.answer(Buffer.from(response(value)), contentType)
  return 'result' in answer ? answer.result : answer
}

function response(value: string): string {
  return `<?xml version="1.0"?>\n<methodResponse><params><param><value>${value}</value></param></params></methodResponse>`
}

/** The `<value>` that is written for a value. */
function written(value: unknown, by: Codec = codec): string {
  return /<param><value>(.*)<\/value><\/param>/s.exec(by.encodeResult(value))?.[1] ?? ''
}

function faultOf(run: () => unknown): number | undefined {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, 'INVALID_ARGUMENT')
    return (error.details as { faultCode?: number } | undefined)?.faultCode
  }
  return 0
}

test('xmlrpc: each type is read as its value', () => {
  const cases: [string, unknown][] = [
    ['<int>-7</int>', -7],
    ['<i4>+2147483647</i4>', 2 ** 31 - 1],
    ['<int>-0</int>', 0],
    ['<i8>7</i8>', 7n],
    ['<i8>-9223372036854775808</i8>', -(2n ** 63n)],
    ['<ex:i8>9007199254740993</ex:i8>', 9007199254740993n],
    ['<double>2.0</double>', 2],
    ['<double>-1.5e-7</double>', -1.5e-7],
    ['<boolean>1</boolean>', true],
    ['<boolean>0</boolean>', false],
    ['<string></string>', ''],
    ['<string/>', ''],
    ['<string>  two  spaces </string>', '  two  spaces '],
    ['<string>a&lt;b&gt;&amp;&quot;&apos;&#65;&#x1F600;</string>', 'a<b>&"\'A😀'],
    ['<string>a<![CDATA[<!DOCTYPE &amp;>]]>b</string>', 'a<!DOCTYPE &amp;>b'],
    ['<string>a<!-- not this -->b</string>', 'ab'],
    ['<string>1\r\n2&#13;3</string>', '1\n2\r3'],
    ['bare', 'bare'],
    ['', ''],
    ['\n <int> 1 </int>\n', 1],
    ['<nil/>', null],
    ['<ex:nil/>', null],
    ['<base64>AP8=</base64>', Buffer.from([0, 255])],
    ['<base64>\n  AP\n  8=\n</base64>', Buffer.from([0, 255])],
    ['<base64/>', Buffer.alloc(0)],
    ['<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>', new Date('1998-07-17T14:08:55Z')],
    ['<dateTime.iso8601>2026-01-02T03:04:05.678Z</dateTime.iso8601>', new Date('2026-01-02T03:04:05.678Z')],
    ['<dateTime.iso8601>20260102T03:04:05+0530</dateTime.iso8601>', new Date('2026-01-01T21:34:05Z')],
    ['<dateTime.iso8601>20240229T23:59:59</dateTime.iso8601>', new Date('2024-02-29T23:59:59Z')],
    ['<array><data/></array>', []],
    ['<array><data>\n<value><int>1</int></value><value>x</value></data></array>', [1, 'x']],
    ['<struct/>', {}],
    ['<struct><member><name>a b</name><value><int>1</int></value></member></struct>', { 'a b': 1 }],
    ['<struct><member><name>constructor</name><value>x</value></member></struct>', { constructor: 'x' }],
  ]
  for (const [xml, value] of cases) assert.deepEqual(read(xml), value, xml)
})

test('xmlrpc: what is not what its type says is refused, each with its fault', () => {
  const parameters = [
    ...['<int></int>', '<int>1.0</int>', '<int>0x1</int>', '<i4>2147483648</i4>', '<int>1 2</int>', '<i8>9223372036854775808</i8>'],
    ...['<double>NaN</double>', '<double>inf</double>', '<double>1e999</double>', '<double>.</double>', '<double></double>'],
    ...[
      '<boolean>true</boolean>',
      '<boolean>2</boolean>',
      '<nil>x</nil>',
      '<base64>A</base64>',
      '<base64>AP8=AP8=</base64>',
      '<base64>A*==</base64>',
    ],
    ...['20260230T00:00:00', '20260101T24:00:00', '20260101T00:60:00', '20261301T00:00:00', '2026', '20260101 00:00:00', ''].map(
      (date) => `<dateTime.iso8601>${date}</dateTime.iso8601>`,
    ),
  ]
  for (const xml of parameters)
    assert.equal(
      faultOf(() => read(xml)),
      -32602,
      xml,
    )
  const notConforming = [
    ...[
      '<float>1</float>',
      '<Int>1</Int>',
      '<int>1</int><int>2</int>',
      'text<int>1</int>',
      '<int><i4>1</i4></int>',
      '<string><b>x</b></string>',
    ],
    ...['<array/>', '<array><data/><data/></array>', '<array><data><int>1</int></data></array>', '<array>x<data/></array>'],
    ...[
      '<struct>x</struct>',
      '<struct><value/></struct>',
      '<struct><member><name>a</name></member></struct>',
      '<struct><member><value/><name>a</name></member></struct>',
    ],
    ...['__proto__', '<b/>'].map((name) => `<struct><member><name>${name}</name><value>x</value></member></struct>`),
    `<struct>${'<member><name>a</name><value>x</value></member>'.repeat(2)}</struct>`,
    `${'<array><data><value>'.repeat(9)}x${'</value></data></array>'.repeat(9)}`,
  ]
  for (const xml of notConforming)
    assert.equal(
      faultOf(() => read(xml)),
      -32600,
      xml,
    )
  const malformed = [
    ...[
      '<int>1</i4>',
      '<int>1',
      '&nbsp;',
      '&',
      '&#0;',
      '&#xd800;',
      '&#x110000;',
      '&#1;',
      '<a b=c/>',
      '<!ENTITY a "b">',
      '<!DOCTYPE a>',
      '<!-- ',
      '<![CDATA[x',
    ],
    ...['<constructor/>', '<__proto__>1</__proto__>', '<array><data><value>'.repeat(5_000)],
    `${'<array><data><value>'.repeat(5_000)}x${'</value></data></array>'.repeat(5_000)}`,
  ]
  for (const xml of malformed)
    assert.equal(
      faultOf(() => read(xml)),
      -32700,
      xml.slice(0, 100),
    )
  for (const xml of ['\0', 'a\u0008', '\ufffe'])
    assert.equal(
      faultOf(() => read(xml)),
      -32702,
    )
})

test('xmlrpc: document types and entities are refused, wherever they stand', () => {
  const laughs = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
  const external = '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
  const call = '<methodCall><methodName>echo</methodName><params><param><value>&b;</value></param></params></methodCall>'
  for (const text of [laughs + call, external + call, call + external, `<!doctype a>${call}`, `\n${external}\n${call}`, call]) {
    assert.equal(
      faultOf(() => codec.call(Buffer.from(text), undefined)),
      -32700,
      text,
    )
  }
})

test('xmlrpc: a call and an answer have their shape, and nothing else has', () => {
  const call = (content: string): unknown => codec.call(Buffer.from(`<methodCall>${content}</methodCall>`), undefined)
  assert.deepEqual(call('<methodName>a.b</methodName>'), { name: 'a.b', params: [] })
  assert.deepEqual(call('\n<methodName> a </methodName>\n<params>\n<param>\n<value>1</value>\n</param>\n</params>\n'), {
    name: 'a',
    params: ['1'],
  })
  for (const content of [
    '',
    '<params/>',
    '<params/><methodName>a</methodName>',
    '<methodName>a</methodName><params><value/></params>',
    '<methodName>a</methodName><params><param/></params>',
    '<methodName>a</methodName><params/><params/>',
    'x<methodName>a</methodName>',
  ]) {
    assert.equal(
      faultOf(() => call(content)),
      -32600,
      content,
    )
  }
  const answer = (content: string): Answer => codec.answer(Buffer.from(`<methodResponse>${content}</methodResponse>`), undefined)
  const fault =
    '<fault><value><struct><member><name>faultCode</name><value><int>4</int></value></member><member><name>faultString</name><value>no</value></member></struct></value></fault>'
  assert.deepEqual(answer(fault), { fault: { faultCode: 4, faultString: 'no' } })
  for (const content of [
    '',
    '<params/>',
    '<fault><value/></fault>',
    `${fault}<params/>`,
    '<params><param><value/></param><param><value/></param></params>',
  ]) {
    assert.equal(
      faultOf(() => answer(content)),
      -32600,
      content,
    )
  }
  assert.equal(
    faultOf(() => codec.call(Buffer.from(response('x')), undefined)),
    -32600,
    'an answer is no call',
  )
  for (const text of ['', ' ', 'no XML', '<a/><b/>', '{}'])
    assert.equal(
      faultOf(() => codec.call(Buffer.from(text), undefined)),
      -32700,
      text,
    )
})

test('xmlrpc: a text is read in the character set that it has', () => {
  const latin = Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><methodCall><methodName>\xfc</methodName></methodCall>', 'latin1')
  assert.equal(codec.call(latin, undefined).name, 'ü')
  assert.equal(codec.call(latin, 'text/xml; charset="iso-8859-1"').name, 'ü')
  assert.equal(
    faultOf(() => codec.call(latin, 'text/xml; charset=utf-8')),
    -32702,
  )
  assert.equal(
    faultOf(() => codec.call(latin, 'text/xml; charset=klingon')),
    -32701,
  )
  const wide = Buffer.from('\ufeff<methodCall><methodName>ü</methodName></methodCall>', 'utf16le')
  assert.equal(codec.call(wide, 'text/xml; charset=utf-16').name, 'ü')
  assert.equal(codec.call(Buffer.from('\ufeff<methodCall><methodName>ü</methodName></methodCall>'), undefined).name, 'ü')
})

test('xmlrpc: each value is written as its type', () => {
  const cases: [unknown, string][] = [
    [7, '<int>7</int>'],
    [-(2 ** 31), '<int>-2147483648</int>'],
    [2 ** 31, '<i8>2147483648</i8>'],
    [7n, '<i8>7</i8>'],
    [1.5, '<double>1.5</double>'],
    [-0, '<double>-0.0</double>'],
    [{ $double: 2 }, '<double>2.0</double>'],
    [
      { $double: 2, more: 1 },
      '<struct><member><name>$double</name><value><int>2</int></value></member><member><name>more</name><value><int>1</int></value></member></struct>',
    ],
    [1e21, '<double>1000000000000000000000.0</double>'],
    [-1.25e-7, '<double>-0.000000125</double>'],
    [true, '<boolean>1</boolean>'],
    ['a<b>&"\r\n', '<string>a&lt;b&gt;&amp;"&#13;\n</string>'],
    [null, '<nil/>'],
    [undefined, '<nil/>'],
    [new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 999)), '<dateTime.iso8601>20260102T03:04:05</dateTime.iso8601>'],
    [new Uint8Array([0, 255]), '<base64>AP8=</base64>'],
    [Buffer.from([0, 255]), '<base64>AP8=</base64>'],
    [[1, 'x'], '<array><data><value><int>1</int></value><value><string>x</string></value></data></array>'],
    [new Set([1]), '<array><data><value><int>1</int></value></data></array>'],
    [{ a: 1, b: undefined }, '<struct><member><name>a</name><value><int>1</int></value></member></struct>'],
    [new Map([['<', 1]]), '<struct><member><name>&lt;</name><value><int>1</int></value></member></struct>'],
  ]
  for (const [value, xml] of cases) assert.equal(written(value), xml)
})

test('xmlrpc: what it cannot say is refused', () => {
  const cycle: unknown[] = []
  cycle.push(cycle)
  const values = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2n ** 63n,
    'a\0',
    '\ud800',
    'x\u0001',
    () => {},
    Symbol('x'),
    cycle,
    new Date(Number.NaN),
    new Date(-1e14),
    new Map([[1, 2]]),
    { '\0': 1 },
  ]
  for (const value of values)
    assert.equal(
      faultOf(() => codec.encodeResult(value)),
      undefined,
    )
  for (const value of [null, undefined, [null], 2n ** 31n])
    assert.equal(
      faultOf(() => strict.encodeResult(value)),
      undefined,
    )
  assert.deepEqual([written(7n, strict), written(2 ** 31, strict)], ['<int>7</int>', '<double>2147483648.0</double>'])
  assert.match(codec.encodeFault({ faultCode: 1, faultString: 'a\0ü' }), /<string>a\?\?<\/string>/)
})

test('xmlrpc: what is written is read again as it was', () => {
  const random = seeded(7)
  const make = (depth: number): unknown => {
    const pick = Math.floor(random() * (depth > 0 ? 10 : 8))
    const many = <T>(one: () => T): T[] => Array.from({ length: Math.floor(random() * 4) }, one)
    switch (pick) {
      case 0:
        return Math.floor(random() * 2 ** 32) - 2 ** 31
      case 1:
        return BigInt(Math.floor(random() * 2 ** 53)) * (random() < 0.5 ? 1024n : -1n)
      case 2:
        return doubleOf(random)
      case 3:
        return random() < 0.5
      case 4:
        return many(() =>
          String.fromCodePoint(...[9, 10, 13, 32 + random() * 0xd000, 0x10_000 + random() * 0xff_fff].map(Math.floor)),
        ).join('')
      case 5:
        return new Date(Math.floor(random() * 4e9) * 1_000)
      case 6:
        return Buffer.from(many(() => Math.floor(random() * 256)))
      case 7:
        return null
      case 8:
        return many(() => make(depth - 1))
      default:
        return Object.fromEntries(many(() => [`n${random()}<&>`, make(depth - 1)]))
    }
  }
  for (let n = 0; n < 500; n++) {
    const params = [make(4), make(4)]
    assert.deepEqual(codec.call(Buffer.from(codec.encodeCall({ name: 'x', params })), undefined).params, params)
  }
})

test('xmlrpc: whatever bytes come, they are read or refused, soon', () => {
  const random = seeded(11)
  const at = (length: number): number => Math.floor(random() * length)
  const seed = Buffer.from(
    codec
      .encodeCall({ name: 'a.b', params: [1, 2n, 1.5, 'x&<', [true, { a: [new Date(0), Buffer.from('xyz')], b: null }]] })
      .replace('<string>', '<string><![CDATA[ ]]><!-- -->'),
  )
  const words = [
    '<',
    '>',
    '</',
    '/>',
    '<!',
    '<!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '<?',
    '?>',
    '&',
    ';',
    '&#',
    '"',
    "'",
    '<value>',
    '</value>',
    '<int>',
    '\0',
    '\xff',
  ].map((word) => Buffer.from(word, 'latin1'))
  let read = 0
  for (let n = 0; n < 5_000; n++) {
    let bytes: Buffer = Buffer.from(seed)
    for (let changes = 1 + at(4); changes > 0; changes--) {
      const [from, to] = [at(bytes.length), at(bytes.length)].sort((a, b) => a - b) as [number, number]
      const word = words[at(words.length)] ?? Buffer.alloc(0)
      const kinds = [
        () => Buffer.concat([bytes.subarray(0, from), word, bytes.subarray(from)]),
        () => Buffer.concat([bytes.subarray(0, from), bytes.subarray(Math.min(to, from + 20))]),
        () => Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]),
        () => bytes.subarray(0, to),
        () => Buffer.concat([bytes.subarray(0, from), Buffer.from([at(256)]), bytes.subarray(from + 1)]),
      ]
      bytes = kinds[at(kinds.length)]?.() ?? bytes
    }
    try {
      codec.call(bytes, undefined)
      read++
    } catch (error) {
      assert.ok(error instanceof CageError && error.code === 'INVALID_ARGUMENT', `${error}: ${bytes}`)
    }
  }
  assert.ok(read > 50 && read < 4_900, String(read))
})

test('xmlrpc: what anything costs to read or refuse grows with its length, no faster', () => {
  const size = 300_000
  const fill = (text: string): string => text.repeat(Math.ceil(size / text.length))
  const texts = [
    fill('<'),
    fill('<a>'),
    fill('<!--'),
    fill('<![CDATA['),
    fill('&'),
    fill('&amp;'),
    fill(' '),
    fill('<a '),
    fill('<?'),
    fill('a="'),
    fill('<a/>'),
  ]
  texts.push(
    ...texts.map((text) => `<methodCall><methodName>${text}`),
    response(fill('&#65;')),
    response(`<a${fill(' ')}/>`),
    response(`<!-- ${fill('-')}`),
  )
  for (const text of texts) {
    const before = process.cpuUsage().user
    faultOf(() => codec.call(Buffer.from(text), undefined))
    const tookMs = (process.cpuUsage().user - before) / 1_000 // of this process: the machine may be busy
    assert.ok(tookMs < 2_000, `${text.slice(0, 40)} took ${tookMs} ms`) // what is quadratic takes a hundred times as long
  }
})

/** A number of any size. */
function doubleOf(random: () => number): number {
  const view = new DataView(new ArrayBuffer(8))
  view.setUint32(0, random() * 2 ** 32)
  view.setUint32(4, random() * 2 ** 32)
  const value = view.getFloat64(0)
  return Number.isFinite(value) ? value : 0.5
}

/** Mulberry32: the same numbers at each run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
