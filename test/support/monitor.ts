/** The monitor cage under test: its configuration with somebody who may act, and a real browser that looks at it. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { hashPassword } from '../../src/password.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'

/** Of `ann`. */
export const PASSWORD = 'correct horse battery staple'

/** `config/monitor.js`: its page at a port, its history kept every so often. */
export async function monitorConfig(port: number, keepEveryMs: number): Promise<string> {
  return `export default {
    interfaces: {
      page: { kind: 'http', port: ${port}, events: { 'GET /live': 'overview.next' }, handler: 'pages.serve' },
      keep: { kind: 'schedule', everyMs: ${keepEveryMs}, call: 'overview.keep' },
    },
    values: { users: { ann: ${JSON.stringify(await hashPassword(PASSWORD))} } },
  }`
}

/** Ends with its owner. */
export async function startBrowser(owner: Owner): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
  atEnd(owner, () => browser.close())
  return browser
}

/** A page that has never been here. What it complains of, what it asks of others and what its policy forbids is an offence. */
export async function openPage(
  browser: Browser,
  base: string,
  place: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; offences: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1_280, height: 900 }, ...options })
  const offences: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) offences.push(message.text()) // a violated policy is one
  })
  page.on('pageerror', (error) => offences.push(error.message))
  page.on('dialog', (dialog) => {
    offences.push(dialog.message())
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(base)) offences.push(request.url())
  })
  await page.goto(`${base}/#/${place}`)
  await page.getByRole('heading', { level: 1 }).waitFor()
  return { page, offences }
}
