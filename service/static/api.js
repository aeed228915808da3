// The service's HTTP, relative to the page, so that it also works behind a prefix.

import { EventReader } from "./events.js";
import { askForKey, currentKey } from "./key.js";

/** An error of the service or of the network; `message` is the detail of the problem document. */
export class Problem extends Error {
  constructor(message, { status = 0, requestId = "" } = {}) {
    super(message);
    this.status = status;
    this.requestId = requestId;
  }
}

/**
 * Send a request; a 401 asks the visitor for a key and tries again.
 *
 * `onUpload(share)` hears how much of the body has left. With `onProgress` the answer is asked for as a stream: it
 * hears the data of each event `progress`, and the answer is what the last event brought. Gives `{status, body,
 * location}`. Throws a Problem, or an AbortError when the signal says so.
 */
export async function send(method, path, options = {}) {
  for (;;) {
    const answer = await once(method, path, options);
    if (answer.status < 400) return answer;
    if (answer.status !== 401 || !(await askForKey(detail(answer)))) throw asProblem(answer);
  }
}

export const domains = async () => (await send("GET", "domains")).body.domains;

export async function search(name, query) {
  const parameters = new URLSearchParams({ q: query, limit: "12" });
  return (await send("GET", `${domainPath(name)}/search?${parameters}`)).body.results;
}

export const jobs = async () => (await send("GET", "jobs")).body.jobs;

export const rollBack = async (name) => (await send("POST", `${domainPath(name)}/rollback`)).body;

export const remove = (name) => send("DELETE", domainPath(name));

/** The corpus of a domain: answered with the domain, or with 202 and a job. */
export function register(name, file, options) {
  return send("PUT", domainPath(name), { body: form({ file }), ...options });
}

export async function caption(file, domain, options) {
  const body = form({ file, domain, response_format: "verbose_json" });
  return (await send("POST", "caption", { body, ...options })).body;
}

/** Whether the service can caption: `{ready, detail}`; never throws. */
export async function readiness() {
  try {
    const answer = await once("GET", "readyz", {});
    if (answer.status === 200) return { ready: true, detail: answer.body?.bundle ?? "" };
    return { ready: false, detail: detail(answer) };
  } catch {
    return { ready: false, detail: "the service cannot be reached" };
  }
}

const domainPath = (name) => `domains/${encodeURIComponent(name)}`;

function form(fields) {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields)) made.append(name, value);
  return made;
}

// XMLHttpRequest, since fetch cannot tell how far an upload is.
function once(method, path, { body = null, signal = null, onUpload = null, onProgress = null }) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    let last = null;
    const events = new EventReader((event) => {
      if (event.name === "progress") onProgress(JSON.parse(event.data));
      else last = event;
    });
    const streams = () => onProgress && isStream(request);
    signal?.addEventListener("abort", abort);
    request.addEventListener("loadend", () => signal?.removeEventListener("abort", abort));
    request.addEventListener("progress", () => streams() && events.read(request.responseText));
    request.addEventListener("load", () => {
      if (!streams()) return resolve(read(request));
      events.read(request.responseText);
      if (last) resolve(ending(last));
      else reject(new Problem("the answer ended before the caption came"));
    });
    request.addEventListener("error", () => reject(new Problem("the service cannot be reached, or cut the connection")));
    request.addEventListener("abort", () => reject(signal.reason));
    if (onUpload) {
      request.upload.addEventListener("progress", (event) => onUpload(event.loaded / Math.max(1, event.total)));
    }
    request.open(method, new URL(path, document.baseURI));
    if (onProgress) request.setRequestHeader("Accept", "text/event-stream");
    const key = currentKey();
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.send(body);
  });
}

const isStream = (request) => request.getResponseHeader("Content-Type")?.startsWith("text/event-stream");

// The last event of a stream, as the answer that it carries.
function ending({ name, data }) {
  const body = JSON.parse(data);
  return { status: name === "error" ? (body.status ?? 500) : 200, body, location: null };
}

function read(request) {
  let body = null;
  try {
    body = request.responseText ? JSON.parse(request.responseText) : null;
  } catch {
    // Not ours: a proxy's page, say. The status tells enough.
  }
  return { status: request.status, body, location: request.getResponseHeader("Location") };
}

function detail(answer) {
  return answer.body?.detail || `the service answered ${answer.status}`;
}

function asProblem(answer) {
  return new Problem(detail(answer), { status: answer.status, requestId: answer.body?.request_id });
}
