// Registrations that go on in the service and were not begun on this page, or before it was loaded again.

import * as api from "./api.js";
import { announce, byId, count, element } from "./dom.js";
import { follow, isOver, progressOf, showProgress } from "./jobs.js";

const DOING = { register: "Registering", append: "Adding captions to" };

export class UnderWay {
  #followed = new Set();
  #onDone;
  #onProblem;

  /** `onDone(name)` when one has ended well or was cancelled, `onProblem(error)` when it failed. */
  constructor({ onDone, onProblem }) {
    this.#onDone = onDone;
    this.#onProblem = onProblem;
  }

  /** Ask for the running jobs and follow them, except those of the domain `but`. Without permission show none. */
  async find(but = null) {
    let jobs;
    try {
      jobs = await api.jobs();
    } catch (error) {
      if (error.status !== 403) this.#onProblem(error);
      return;
    }
    for (const job of jobs.reverse()) {
      if (!isOver(job) && job.domain !== but && !this.#followed.has(job.id)) this.#follow(job);
    }
  }

  async #follow(job) {
    const running = new AbortController();
    const [row, show] = rowOf(job, () => running.abort());
    this.#followed.add(job.id);
    byId("job-list").append(row);
    byId("under-way").hidden = false;
    try {
      const result = await follow(`jobs/${job.id}`, job, { signal: running.signal, onProgress: show });
      announce(result ? `${job.domain} is registered with ${count(result.captions ?? 0, "caption")}` : "Cancelled");
      this.#remove(row);
      this.#onDone(job.domain);
    } catch (error) {
      this.#remove(row);
      this.#onProblem(error);
    } finally {
      this.#followed.delete(job.id);
    }
  }

  // The focus would be lost with its button.
  #remove(row) {
    const hadFocus = row.contains(document.activeElement);
    row.remove();
    byId("under-way").hidden = byId("job-list").children.length === 0;
    if (hadFocus) byId(byId("under-way").hidden ? "domains-title" : "under-way-title").focus();
  }
}

function rowOf({ kind, domain }, cancel) {
  const title = `${DOING[kind] ?? "Changing"} ${domain}`;
  const bar = element("progress", { max: 1, ariaLabel: title });
  const text = element("p", { className: "muted" });
  const button = element("button", { type: "button", className: "button", textContent: "Cancel", ariaLabel: `Cancel ${title}` });
  button.addEventListener("click", cancel);
  const show = (job) => showProgress(bar, text, progressOf(job));
  return [element("li", { className: "job" }, element("h3", { textContent: title }), bar, text, button), show];
}
