// A registration that goes on in the service: asked after until it ends.

import * as api from "./api.js";
import { brief, count } from "./dom.js";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 2000;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** Whether nothing more becomes of a job. */
export const isOver = (job) => ENDED.has(job?.state);

/**
 * Follow the job at `location` until it ends; `onProgress(job)` hears of each state on the way.
 *
 * Gives the job's result, or null when it was cancelled. Throws the job's Problem. The signal cancels
 * the job.
 */
export async function follow(location, first, { onProgress, signal }) {
  // Relative to the page, since the service does not know of a prefix in front of it.
  const path = location.replace(/^\//, "");
  let job = first;
  let wait = FIRST_WAIT_MS;
  let cancelled = false;
  while (!isOver(job)) {
    if (job) onProgress(job);
    await pause(wait, signal);
    if (signal.aborted && !cancelled) {
      cancelled = true;
      await cancel(path);
    }
    job = (await api.send("GET", path)).body;
    wait = Math.min(LONGEST_WAIT_MS, wait * 1.5);
  }
  if (job.state === "failed") {
    const problem = job.problem ?? {};
    throw new api.Problem(problem.detail ?? "the registration failed", {
      status: problem.status,
      requestId: problem.request_id,
    });
  }
  return job.state === "succeeded" ? (job.result ?? {}) : null;
}

// A job that has just ended cannot be cancelled; the next request tells its result.
async function cancel(path) {
  try {
    await api.send("DELETE", path);
  } catch (error) {
    if (error.status !== 409) throw error;
  }
}

/** Show how far a job is, as `{share, text}`, where the share is null while nobody can tell, in a bar and a line. */
export function showProgress(bar, line, { share, text }) {
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  line.textContent = share === null ? text : `${text} · ${Math.round(100 * share)}%`;
}

/** How far a job is. */
export function progressOf({ state, progress = {} }) {
  if (state === "queued") return { share: null, text: "Waiting for its turn" };
  const { bytes_read: read, bytes_total: total, captions_read: captions, eta_seconds: left } = progress;
  const done = Math.max(progress.stored ?? 0, (progress.embedded ?? 0) + (progress.reused ?? 0));
  const facts = [done ? `${count(done, "caption")} so far` : "Reading"];
  if (progress.reused) facts.push(`${progress.reused.toLocaleString("en")} known from before`);
  if (left) facts.push(`about ${brief(Math.ceil(left))} left`);
  // Reading runs ahead of embedding, so its share counts only for the captions that are embedded.
  const share = total && captions ? (read / total) * Math.min(1, done / captions) : null;
  return { share, text: facts.join(" · ") };
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
