// Play, pause and seek; a recording this browser cannot play leaves the controls off.

import { byId, clock } from "./dom.js";

const LOAD_MS = 5000;

export class Player {
  #audio = byId("audio");
  #button = byId("play");
  #slider = byId("seek");
  #onTime;

  /** `onTime(seconds)` is called while the position moves. */
  constructor(onTime) {
    this.#onTime = onTime;
    this.#button.addEventListener("click", () => (this.#audio.paused ? this.#play() : this.#audio.pause()));
    this.#slider.addEventListener("input", () => this.seek(Number(this.#slider.value)));
    for (const kind of ["play", "pause", "ended"]) this.#audio.addEventListener(kind, () => this.#changed());
    this.#audio.addEventListener("timeupdate", () => this.#moved());
  }

  /** Take a recording; gives its seconds, or NaN when this browser cannot play it. */
  async load(clip) {
    this.unload();
    this.#audio.src = clip.url;
    const duration = await metadata(this.#audio);
    const playable = Number.isFinite(duration) && duration > 0;
    this.#button.disabled = this.#slider.disabled = !playable;
    this.#slider.max = playable ? duration : 1;
    this.#moved();
    return playable ? duration : NaN;
  }

  get playable() {
    return !this.#button.disabled;
  }

  unload() {
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load();
    this.#button.disabled = this.#slider.disabled = true;
    byId("clock").textContent = "";
  }

  seek(seconds) {
    if (!this.playable) return;
    this.#audio.currentTime = seconds;
    this.#moved();
  }

  playFrom(seconds) {
    this.seek(seconds);
    this.#play();
  }

  #play() {
    if (!this.playable) return;
    // Refused when a pause comes before it has begun, which is no error.
    this.#audio.play().catch(() => this.#changed());
    this.#follow();
  }

  #follow() {
    this.#moved();
    if (!this.#audio.paused) requestAnimationFrame(() => this.#follow());
  }

  #moved() {
    const { currentTime, duration } = this.#audio;
    if (!Number.isFinite(duration)) return;
    this.#slider.value = currentTime;
    this.#slider.setAttribute("aria-valuetext", `${clock(currentTime)} of ${clock(duration)}`);
    byId("clock").textContent = `${clock(currentTime)} / ${clock(duration)}`;
    this.#onTime(currentTime);
  }

  #changed() {
    const playing = !this.#audio.paused;
    this.#button.classList.toggle("playing", playing);
    this.#button.setAttribute("aria-label", playing ? "Pause" : "Play");
  }
}

function metadata(audio) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(NaN), LOAD_MS);
    const done = (seconds) => {
      clearTimeout(timer);
      resolve(seconds);
    };
    audio.addEventListener("loadedmetadata", () => done(audio.duration), { once: true });
    audio.addEventListener("error", () => done(NaN), { once: true });
  });
}
