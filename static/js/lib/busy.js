// A form is sent once: its button is off until the answer is there, and a second press is swallowed.

const LONGEST = 15_000

export function hold(form, submitter) {
  form.dataset.busy = ''
  const button = submitter ?? form.querySelector('button:not([type="button"])')
  // Later: a button that is off at once would not be sent along.
  setTimeout(() => {
    if (form.dataset.busy !== undefined) button?.setAttribute('aria-disabled', 'true')
  })
  const free = () => {
    delete form.dataset.busy
    button?.removeAttribute('aria-disabled')
  }
  // The page may stay: an answer that is a file, or a way back to this very page.
  const timer = setTimeout(free, LONGEST)
  addEventListener('pageshow', free, { once: true })
  return () => {
    clearTimeout(timer)
    free()
  }
}

export const held = (form) => form.dataset.busy !== undefined
