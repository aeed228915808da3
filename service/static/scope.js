// Waveform, spectrogram and timeline of a recording. The picture is ink on whatever the theme's paper is.

import { byId, element } from "./dom.js";
import { heightOf } from "./pitch.js";

const COLUMNS = 900;
const ROWS = 144;
const MARKED_PITCHES = [200, 1000, 4000];

export class Scope {
  #wave = byId("wave");
  #spectrogram = byId("spectrogram");
  #worker = null;
  #peaks = null;
  #levels = null;
  #duration = NaN;
  #onSeek;

  /** `onSeek(seconds)` is called when the picture or the timeline is clicked. */
  constructor(onSeek) {
    this.#onSeek = onSeek;
    byId("scope").addEventListener("click", (event) => {
      const box = byId("scope-picture").getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      if (this.#duration > 0) this.#onSeek(share * this.#duration);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paintAll());
    new ResizeObserver(() => this.#paintWave()).observe(this.#wave);
  }

  /** Forget the picture: another recording is being read and will be drawn. Busy until `draw` is done or `fail` is called. */
  expect() {
    this.#worker?.terminate();
    this.#worker = this.#peaks = this.#levels = null;
    this.#duration = NaN;
    byId("pitches").replaceChildren();
    byId("playhead").hidden = true;
    this.setSegments([]);
    this.#note("Drawing…");
    byId("scope-picture").setAttribute("aria-busy", "true");
    this.#paintAll();
  }

  /** There will be no picture; says why. */
  fail(reason) {
    this.#note(reason);
    byId("scope-picture").removeAttribute("aria-busy");
  }

  setDuration(seconds) {
    this.#duration = seconds;
  }

  /** Draw the channels of a recording, in the background; resolves when all is drawn. The channels are used up. */
  draw(channels, rate) {
    this.#note("");
    this.#duration = channels[0].length / rate;
    this.#levels = new Uint8ClampedArray(COLUMNS * ROWS);
    this.#markPitches(rate / 2);
    const worker = new Worker(new URL("analysis-worker.js", import.meta.url), { type: "module" });
    this.#worker = worker;
    return new Promise((resolve) => {
      worker.addEventListener("error", () => this.fail("This browser cannot draw the recording."));
      worker.addEventListener("message", ({ data }) => {
        if (worker !== this.#worker) return;
        if (data.kind === "wave") {
          this.#peaks = data.peaks;
          this.#paintWave();
        } else if (data.kind === "levels") {
          this.#levels.set(data.levels, data.from * ROWS);
          this.#paintSpectrogram(data.from, data.levels.length / ROWS);
        } else {
          worker.terminate();
          byId("scope-picture").removeAttribute("aria-busy");
          resolve();
        }
      });
      const buffers = channels.map((channel) => channel.buffer);
      worker.postMessage({ channels, rate, columns: COLUMNS, rows: ROWS }, buffers);
    });
  }

  setSegments(segments) {
    const total = this.#duration || segments.at(-1)?.end || 1;
    byId("timeline").replaceChildren(
      ...segments.map((one) => {
        const mark = element("div", { className: "mark-segment", title: one.caption });
        mark.style.left = `${(100 * one.start) / total}%`;
        mark.style.width = `${(100 * (one.end - one.start)) / total}%`;
        return mark;
      }),
    );
  }

  setTime(seconds, segment) {
    const playhead = byId("playhead");
    playhead.hidden = !(this.#duration > 0);
    playhead.style.left = `${Math.min(100, (100 * seconds) / (this.#duration || 1))}%`;
    [...byId("timeline").children].forEach((mark, n) => mark.classList.toggle("now", n === segment));
  }

  #note(text) {
    byId("scope-note").textContent = text;
    byId("scope-note").hidden = !text;
  }

  #paintAll() {
    this.#paintWave();
    this.#paintSpectrogram(0, COLUMNS);
  }

  #paintWave() {
    const canvas = this.#wave;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    if (!this.#peaks) return;
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(canvas).color;
    const loudest = this.#peaks.reduce((most, peak) => Math.max(most, Math.abs(peak)), 1e-4);
    const [middle, reach] = [canvas.height / 2, canvas.height / 2 - scale];
    for (let x = 0; x < canvas.width; x++) {
      const column = Math.floor((x * COLUMNS) / canvas.width);
      const top = middle - (this.#peaks[2 * column + 1] / loudest) * reach;
      const bottom = middle - (this.#peaks[2 * column] / loudest) * reach;
      context.fillRect(x, top, 1, Math.max(scale / 2, bottom - top));
    }
  }

  #paintSpectrogram(from, columns) {
    const canvas = this.#spectrogram;
    if (canvas.width !== COLUMNS || !this.#levels) [canvas.width, canvas.height] = [COLUMNS, ROWS];
    if (!this.#levels) return;
    const context = canvas.getContext("2d");
    const [red, green, blue] = getComputedStyle(canvas).color.match(/[\d.]+/g).map(Number);
    const image = context.createImageData(columns, ROWS);
    for (let column = 0; column < columns; column++) {
      for (let row = 0; row < ROWS; row++) {
        const level = this.#levels[(from + column) * ROWS + row] / 255;
        image.data.set([red, green, blue, 255 * level ** 1.5], 4 * (row * columns + column));
      }
    }
    context.putImageData(image, from, 0);
  }

  #markPitches(top) {
    const marks = MARKED_PITCHES.filter((pitch) => pitch < 0.8 * top).map((pitch) => {
      const name = pitch < 1000 ? `${pitch} Hz` : `${pitch / 1000} kHz`;
      const mark = element("span", { className: "pitch", textContent: name });
      mark.style.top = `${100 * heightOf(pitch, top)}%`;
      return mark;
    });
    byId("pitches").replaceChildren(...marks);
  }
}
