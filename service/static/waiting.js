// A caption in progress: its stage, its share, its time, and the moments so far.

import { announce, byId, clock, count } from "./dom.js";
import { addMoments } from "./result.js";

const STAGES = { embed_audio: "Listening", generate: "Writing" };
// Shares that are announced to screen readers, in percent.
const STEP = 25;
const TICK_MS = 500;
const PATIENCE_SECONDS = 2;

export class Waiting {
  #timer = null;
  #started = 0;
  #said = "";
  #moments = 0;

  /** Show that it begins. */
  start() {
    this.stop();
    this.#started = performance.now();
    this.#moments = 0;
    this.#said = "";
    byId("so-far-list").replaceChildren();
    byId("so-far").hidden = true;
    byId("answer").hidden = byId("busy").hidden = false;
    byId("answer").setAttribute("aria-busy", "true");
    byId("result").hidden = true;
    this.uploaded(1);
    this.#tick();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    announce("Captioning");
  }

  stop() {
    clearInterval(this.#timer);
    byId("busy").hidden = true;
    byId("answer").removeAttribute("aria-busy");
  }

  /** That share of the recording has left. */
  uploaded(share) {
    if (share < 1) this.#show(`Sending… ${Math.round(100 * share)}%`, share);
    else this.#show("Listening…", null);
  }

  /** A report of the service; `onPlay(seconds)` is called for a moment of it that is chosen. */
  progressed({ stage, percent, segments }, { onPlay }) {
    const doing = STAGES[stage] ?? "Captioning";
    this.#show(`${doing}… ${Math.floor(percent)}%`, percent / 100);
    this.#say(`${doing}, ${STEP * Math.floor(percent / STEP)} percent`);
    this.#moments += segments.length;
    byId("so-far").hidden = this.#moments === 0;
    addMoments(byId("so-far-list"), segments, { onPlay });
    this.#tick();
  }

  #show(text, share) {
    byId("busy-text").textContent = text;
    if (share === null) byId("busy-bar").removeAttribute("value");
    else byId("busy-bar").value = share;
  }

  // Announce only changes, and no more often than a listener can follow.
  #say(text) {
    if (text !== this.#said) announce(text);
    this.#said = text;
  }

  #tick() {
    const seconds = (performance.now() - this.#started) / 1000;
    const facts = seconds < PATIENCE_SECONDS ? [] : [clock(seconds)];
    if (this.#moments) facts.push(`${count(this.#moments, "moment")} so far`);
    byId("busy-detail").textContent = facts.join(" · ");
  }
}
