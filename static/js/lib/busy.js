// A form is sent once: its button is disabled until the response arrives, and a second press is ignored.

const LONGEST = 15_000

export function hold(form, submitter) {
  form.dataset.busy = ''
  const button = submitter ?? form.querySelector('button:not([type="button"])')
  // Deferred: a button that is disabled immediately would not be submitted.
  setTimeout(() => {
    if (form.dataset.busy !== undefined) button?.setAttribute('aria-disabled', 'true')
  })
  const free = () => {
    delete form.dataset.busy
    button?.removeAttribute('aria-disabled')
  }
  // The page may stay: the response is a file, or the user comes back to it.
  const timer = setTimeout(free, LONGEST)
  addEventListener('pageshow', free, { once: true })
  return () => {
    clearTimeout(timer)
    free()
  }
}

export const held = (form) => form.dataset.busy !== undefined
