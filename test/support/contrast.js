/**
 * Runs in a browser: how well one can read what a page shows. An expression, as `page.evaluate` takes it: what is below the ratios of WCAG 2.2 AA
 * (4.5 for text, 1.4.3; 3 for lines and edges that mean something, 1.4.11), and how many texts were looked at.
 */
;(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const parsed = new Map()
  /** Any colour as [red, green, blue, alpha]. */
  const parse = (color) => {
    if (!parsed.has(color)) {
      canvas.clearRect(0, 0, 1, 1)
      canvas.fillStyle = color
      canvas.fillRect(0, 0, 1, 1)
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
      parsed.set(color, [r, g, b, a / 255])
    }
    return parsed.get(color)
  }
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1]
  const luminance = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * R + 0.7152 * G + 0.0722 * B
  }
  const ratio = (a, b) => {
    const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x)
    return (light + 0.05) / (dark + 0.05)
  }
  const ground = (element) => {
    const layers = []
    for (let at = element; at; at = at.parentElement) {
      const box = at instanceof SVGTextElement ? at.parentElement.querySelector(':scope > rect') : undefined
      layers.push(parse(box ? getComputedStyle(box).fill : getComputedStyle(at).backgroundColor))
    }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1])
  }

  const bad = []
  let texts = 0
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    if (walker.currentNode.data.trim() === '' || element.closest('title, .unseen, noscript') || element.getClientRects().length === 0)
      continue
    const style = getComputedStyle(element)
    const below = ground(element)
    const color = over(parse(element instanceof SVGElement ? style.fill : style.color), below)
    texts++
    if (ratio(color, below) < 4.5)
      bad.push(`${ratio(color, below).toFixed(2)}: ${walker.currentNode.data} (${element.tagName}.${element.className})`)
  }

  const probe = document.body.appendChild(document.createElement('i'))
  const resolved = (name) => {
    probe.style.color = `var(${name})`
    return parse(getComputedStyle(probe).color)
  }
  for (const line of ['--edge', '--accent', '--bad', '--good', '--warn'])
    for (const surface of ['--surface', '--ground'])
      if (ratio(resolved(line), resolved(surface)) < 3)
        bad.push(`${ratio(resolved(line), resolved(surface)).toFixed(2)}: ${line} on ${surface}`)
  probe.remove()
  return { bad, texts }
})()
