// The pill that says whether the service can caption.

import { readiness } from "./api.js";
import { byId } from "./dom.js";

const WAITING_MS = 2000;
const READY_MS = 30_000;

/** Look now and then for as long as the page is open; `onReady()` is called each time the service becomes ready. */
export async function watchStatus(onReady) {
  let before = null;
  for (;;) {
    if (!document.hidden) {
      const now = await readiness();
      show(now);
      if (now.ready && before !== true) onReady();
      before = now.ready;
    }
    await new Promise((resolve) => setTimeout(resolve, before ? READY_MS : WAITING_MS));
  }
}

function show({ ready, detail }) {
  const loading = !ready && /is (loading|opening)/.test(detail);
  byId("status").dataset.state = ready ? "ready" : loading ? "waiting" : "down";
  say("status-text", ready ? "Ready" : loading ? "Loading…" : "Not ready");
  say("status-detail", detail.replace(/^not ready: /, ""));
}

// Announce only changes.
function say(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}
