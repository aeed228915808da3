// A caption on the page: the sentence, its moments, similar captions, the time of each stage, and downloads.

import { bar, brief, byId, clock, count, element } from "./dom.js";
import { srt, vtt } from "./subtitles.js";

/** Show an answer of POST /caption (verbose_json). `onPlay(seconds)` is called for a moment that is chosen. */
export function showResult(answer, { onPlay }) {
  const segments = answer.segments ?? [];
  byId("sentence").textContent = answer.caption;
  byId("credit").textContent = credit(answer);
  byId("sounds").hidden = !answer.sounds?.length;
  byId("sound-list").replaceChildren(...(answer.sounds ?? []).map(heard));
  byId("moments").hidden = segments.length === 0;
  byId("segment-list").replaceChildren(...segments.map((one) => moment(one, onPlay)));
  byId("similar-list").replaceChildren(...similar(answer.similar_captions ?? []));
  byId("stage-list").replaceChildren(...stages(answer.timings ?? {}));
  byId("result").hidden = false;
}

/** Put moments behind those of a list; `onPlay(seconds)` is called for one that is chosen. */
export function addMoments(list, segments, { onPlay }) {
  list.append(...segments.map((one) => moment(one, onPlay)));
}

/** Show the captions of the same recording in other domains; `onChoose(domain)` shows one of them again. */
export function showOthers(answers, { onChoose }) {
  byId("others").hidden = answers.length === 0;
  byId("other-list").replaceChildren(
    ...answers.map((answer) => {
      const button = element(
        "button",
        { type: "button", className: "other" },
        element("span", { className: "other-words", textContent: answer.caption }),
        element("span", { className: "muted", textContent: answer.domain }),
      );
      button.addEventListener("click", () => onChoose(answer.domain));
      return element("li", {}, button);
    }),
  );
}

/** Whether a moment can be played from: not where this browser cannot play the recording. */
export function setPlayable(playable) {
  for (const button of document.querySelectorAll("button.moment")) button.disabled = !playable;
}

/** Mark the moment of a list that is heard, by its index, and keep it in sight; -1 for none. */
export function markMoment(list, index) {
  const [before, now] = [list.querySelector("[aria-current]"), list.children[index]?.firstChild];
  if (before === now) return;
  before?.removeAttribute("aria-current");
  if (!now) return;
  now.setAttribute("aria-current", "true");
  const [top, bottom] = [now.offsetTop, now.offsetTop + now.offsetHeight];
  if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) list.scrollTop = top;
}

/** Save a subtitle file of the answer under the recording's name; `kind` is vtt or srt. */
export function saveSubtitles(answer, kind, recordingName) {
  const text = kind === "vtt" ? vtt(answer.segments) : srt(answer.segments);
  const type = kind === "vtt" ? "text/vtt" : "application/x-subrip";
  saveFile(new Blob([text], { type }), `${recordingName.replace(/\.[^.]*$/, "") || "caption"}.${kind}`);
}

export function saveFile(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function credit({ domain, duration, model, timings, tokens }) {
  const facts = [`In the words of ${domain}`, `${brief(duration)} heard`];
  if (timings?.total) facts.push(`captioned in ${brief(timings.total)}`);
  if (tokens) facts.push(count(tokens, "token"));
  return [...facts, `by ${model}`].join(" · ");
}

// The times of a sound, as a tooltip and for screen readers.
function heard({ sound, score, spans }) {
  const title = spans.map(({ start, end }) => `${start.toFixed(1)} – ${end.toFixed(1)} s`).join(", ");
  const made = bar(sound, score.toFixed(2), score);
  made.title = title;
  made.append(element("span", { className: "sr-only", textContent: title }));
  return made;
}

function moment({ start, end, caption }, onPlay) {
  const button = element(
    "button",
    { type: "button", className: "moment" },
    element("span", { className: "moment-time", textContent: `${clock(start)} – ${clock(end)}` }),
    element("span", { className: "moment-words", textContent: caption }),
  );
  button.prepend(element("span", { className: "sr-only", textContent: "Play from " }));
  button.addEventListener("click", () => onPlay(start));
  return element("li", {}, button);
}

// Cosines lie between -1 and 1; only positive ones have a bar.
function similar(captions) {
  if (captions.length === 0) return [element("li", { className: "muted", textContent: "No similar captions were used." })];
  return captions.map(({ caption, score }) => bar(caption, score.toFixed(2), score));
}

function stages({ total, ...timings }) {
  const named = Object.entries(timings).sort(([, one], [, other]) => other - one);
  const whole = total ?? named.reduce((sum, [, seconds]) => sum + seconds, 0);
  const rows = named.map(([name, seconds]) => bar(name.replaceAll("_", " "), brief(seconds), seconds / whole));
  if (total) rows.push(bar("total", brief(total), 1));
  return rows;
}
