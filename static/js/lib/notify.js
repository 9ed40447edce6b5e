// A word from the browser when a run ends, for who asked for it. Only a page that is open can say it.

import { api } from './api.js'
import { toast } from './toast.js'

const KEY = 'tunesmith.notify'
const ENDS = { completed: 'has finished', stopped: 'was stopped', failed: 'has failed', crashed: 'has crashed' }

// Notifications can be switched off for all pages in Settings.
const possible = () => isSecureContext && 'Notification' in window && document.body.dataset.notify !== 'off'
const wanted = () => possible() && Notification.permission === 'granted' && localStorage.getItem(KEY) === 'on'

// The choice stands on the page of a run at work; a page that is drawn anew draws its state anew.
export function wireNotify() {
  const show = () => {
    const box = document.getElementById('notify')
    if (!box) return
    box.closest('label').hidden = !possible()
    box.checked = wanted()
  }
  document.addEventListener('change', async (event) => {
    if (event.target.id !== 'notify') return
    localStorage.setItem(KEY, event.target.checked ? 'on' : 'off')
    if (event.target.checked) await Notification.requestPermission()
    if (event.target.checked && Notification.permission !== 'granted')
      toast(
        'The browser does not allow notifications here. ' +
          'Allow them in its settings for this site, then tick the box again.',
      )
    show()
  })
  document.addEventListener('live:swapped', show)
  show()
}

// Several pages may hear of the same end: one tag, one notification.
export async function tellEnd(status) {
  if (!ENDS[status.status] || !wanted()) return
  const said = await api(`/api/training/sessions/${status.session_id}/verdict`).catch(() => null)
  const note = new Notification(`${status.name} ${ENDS[status.status]}`, {
    body: said?.headline ?? '',
    tag: status.session_id,
  })
  note.onclick = () => {
    focus()
    location.href = `/runs/${status.session_id}`
  }
}
