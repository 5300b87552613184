// @ts-check
/** A question to whoever sits there: a modal dialog with fields that are checked before anything is sent. Escape says no. */
import { h, patch } from './dom.js'

/** @typedef {{ name: string, label: string, kind?: 'text' | 'password' | 'json' | 'select', value?: string, options?: [string, string][], optional?: boolean, hint?: string, complete?: string, check?: (value: string) => string | undefined }} Field */
/** @typedef {{ title: string, text?: import('./dom.js').Child, fields: Field[], yes: string, danger?: boolean, send: (values: Record<string, string>) => Promise<void> }} Question */

/** Asks; resolves once the dialog is closed. @param {Question} question @returns {Promise<void>} */
export function ask({ title, text, fields, yes, danger = false, send }) {
  const dialog = document.createElement('dialog')
  const opener = document.activeElement
  dialog.setAttribute('aria-labelledby', 'dialog-title')
  document.body.append(dialog)
  /** @type {Record<string, string>} */
  let wrong = {}
  let failed = ''
  let sending = false

  const show = () =>
    patch(
      dialog,
      h(
        'form',
        { onsubmit: submit, novalidate: true },
        h('h2', { id: 'dialog-title' }, title),
        text && h('div.dialog-text', null, text),
        fields.map((field) => described(field, wrong[field.name])),
        h('p.wrong', { role: 'alert' }, failed),
        h(
          'div.actions',
          null,
          h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'),
          h('button', { type: 'submit', class: danger ? 'danger' : 'primary', disabled: sending }, sending ? 'Sending …' : yes),
        ),
      ),
    )

  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault()
    if (sending) return
    const values = Object.fromEntries(fields.map(({ name }) => [name, valueOf(dialog, name)]))
    wrong = Object.fromEntries(fields.map((field) => [field.name, mistakeOf(field, values[field.name] ?? '')]).filter(([, mistake]) => mistake))
    failed = ''
    const [first] = Object.keys(wrong)
    sending = first === undefined
    show()
    if (first !== undefined) return inputOf(dialog, first)?.focus()
    try {
      await send(values)
      dialog.close()
    } catch (error) {
      failed = error instanceof Error ? error.message : String(error)
      sending = false
      show()
      inputOf(dialog, fields[0]?.name ?? '')?.focus()
    }
  }

  show()
  dialog.showModal()
  inputOf(dialog, fields[0]?.name ?? '')?.focus()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus()
      resolve()
    })
  })
}

/** @param {Field} field @param {string | undefined} mistake */
function described({ name, label, kind = 'text', value = '', options = [], hint, complete = 'off' }, mistake) {
  const about = { id: `field-${name}`, name, 'aria-invalid': mistake ? 'true' : undefined, 'aria-describedby': `about-${name}`, autocomplete: complete }
  return h(
    'div.field',
    { key: name },
    h('label', { for: about.id }, label),
    kind === 'json'
      ? h('textarea', { ...about, rows: '8', spellcheck: 'false', value })
      : kind === 'select'
        ? h('select', { ...about, value }, options.map(([option, text]) => h('option', { value: option, key: option }, text)))
        : h('input', { ...about, type: kind, value }),
    h('p', { id: `about-${name}`, class: mistake ? 'wrong' : 'hint' }, mistake ?? hint),
  )
}

/** @param {Field} field @param {string} value */
function mistakeOf({ optional, check }, value) {
  if (!optional && value.trim() === '') return 'This is needed'
  return check?.(value)
}

/** @param {HTMLElement} dialog @param {string} name */
function inputOf(dialog, name) {
  return /** @type {HTMLInputElement | null} */ (dialog.querySelector(`[name="${name}"]`))
}

/** @param {HTMLElement} dialog @param {string} name */
function valueOf(dialog, name) {
  return inputOf(dialog, name)?.value ?? ''
}

/** Why this is not JSON of a list; undefined: it is. @param {string} text @returns {string | undefined} */
export function mistakeInArguments(text) {
  try {
    const value = JSON.parse(text)
    return Array.isArray(value) ? undefined : 'Arguments are a list: [ ... ]'
  } catch (error) {
    return `This is no JSON: ${error instanceof Error ? error.message : error}`
  }
}
