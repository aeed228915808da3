// The form that registers or replaces a domain, and the progress of its job.

import * as api from "./api.js";
import { announce, byId, count, showProblem } from "./dom.js";
import { follow, progressOf, showProgress } from "./jobs.js";

export class Registration {
  #form = byId("register");
  #name = byId("new-name");
  #file = byId("corpus");
  #lines = byId("lines");
  #running = null;
  #onDone;
  #onProblem;

  /** `onDone(name)` after a registration or on leaving (name null), `onProblem(error)` when it failed. */
  constructor({ onDone, onProblem }) {
    this.#onDone = onDone;
    this.#onProblem = onProblem;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#name.addEventListener("input", () => this.#name.setCustomValidity(""));
    this.#file.addEventListener("change", () => this.#suggestName());
    byId("register-leave").addEventListener("click", () => this.#onDone(null));
    byId("job-cancel").addEventListener("click", () => this.#running?.abort());
  }

  get busy() {
    return this.#running !== null;
  }

  /** The domain that is registered here now, or null. */
  get domain() {
    return this.busy ? this.#name.value.trim() : null;
  }

  /** Open the form for a new domain, or for a new version of `name`. */
  open(name = null) {
    this.#form.reset();
    this.#form.hidden = this.busy;
    this.#name.readOnly = name !== null;
    this.#name.value = name ?? "";
    byId("register-title").textContent = name === null ? "New domain" : `New version of ${name}`;
  }

  close() {
    this.#form.hidden = true;
  }

  /** Take a dropped file as the corpus. */
  take(file) {
    const files = new DataTransfer();
    files.items.add(file);
    this.#file.files = files.files;
    this.#suggestName();
  }

  #suggestName() {
    const [file] = this.#file.files;
    if (!file || this.#name.value) return;
    const stem = file.name.replace(/\..*$/, "").toLowerCase();
    this.#name.value = stem.replace(/[^a-z0-9_-]+/g, "-").replace(/^[-_]+|[-_]+$/g, "").slice(0, 64);
  }

  async #submit() {
    this.#onProblem(null);
    const name = this.#name.value.trim();
    const file = this.#corpus();
    if (file === null) {
      this.#onProblem(new api.Problem("choose a file with captions, or write some"));
      this.#file.focus();
      return;
    }
    const running = new AbortController();
    this.#running = running;
    this.#showJob(name);
    try {
      const result = await this.#register(name, file, running.signal);
      this.#hideJob();
      announce(result ? `${name} is registered with ${count(result.captions ?? 0, "caption")}` : "Cancelled");
      if (result) this.#onDone(name);
      else this.#form.hidden = false;
    } catch (error) {
      this.#hideJob();
      this.#form.hidden = false;
      if (error.name === "AbortError") announce("Cancelled");
      else this.#onProblem(error);
    }
  }

  // An old service answers when the domain serves; a newer one with a job.
  async #register(name, file, signal) {
    const onUpload = (share) => this.#progress(share < 1 ? { share, text: "Sending" } : { share: null, text: "Reading" });
    const answer = await api.register(name, file, { signal, onUpload });
    if (answer.status !== 202) return answer.body;
    const location = answer.location ?? `/jobs/${answer.body.id}`;
    return follow(location, answer.body, { signal, onProgress: (job) => this.#progress(progressOf(job)) });
  }

  #corpus() {
    const [file] = this.#file.files;
    if (file) return file;
    const text = this.#lines.value.trim();
    return text ? new File([`${text}\n`], "captions.txt", { type: "text/plain" }) : null;
  }

  #showJob(name) {
    this.close();
    byId("job-title").textContent = `Registering ${name}`;
    byId("job").hidden = false;
    byId("job-cancel").focus();
    this.#progress({ share: null, text: "Sending" });
  }

  #hideJob() {
    byId("job").hidden = true;
    this.#running = null;
  }

  #progress(progress) {
    showProgress(byId("job-bar"), byId("job-text"), progress);
  }
}
