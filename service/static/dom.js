// Small helpers around the document. Text always enters as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; a string child becomes text. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Let a screen reader say it, without anything on screen. */
export function announce(text) {
  byId("live").textContent = text;
}

/** Seconds as 0:05, 12:40 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

/** Seconds as people say a short time: 12 ms, 1.85 s, 2:10. */
export function brief(seconds) {
  if (seconds < 0.0995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  return seconds < 60 ? `${Number(seconds.toFixed(seconds < 10 ? 2 : 1))} s` : clock(seconds);
}

export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

export function size(bytes) {
  if (bytes < 1024 * 1024) return `${Math.max(1, Math.round(bytes / 1024))} KB`;
  return `${(bytes / (1024 * 1024)).toFixed(1)} MB`;
}

/** Show an error in a box with role=alert, or hide the box if `problem` is null. */
export function showProblem(box, problem) {
  box.replaceChildren();
  box.hidden = problem === null;
  if (problem === null) return;
  box.append(element("p", { textContent: sentence(problem.message) }));
  if (problem.requestId) box.append(element("p", { className: "help", textContent: `Request ${problem.requestId}` }));
}

/** A row of a list of bars: a text, a figure, and a bar of that share of the whole width. */
export function bar(text, figure, share) {
  const fill = element("div", { className: "bar" });
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return element(
    "li",
    {},
    element("span", { className: "bar-text", textContent: text }),
    element("span", { className: "bar-figure", textContent: figure }),
    element("div", { className: "bar-track", ariaHidden: "true" }, fill),
  );
}

function sentence(text) {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}
