// The view that captions: one recording, one domain at a time, every answer kept to compare.

import * as api from "./api.js";
import { Clip, MAX_DRAWN_SECONDS } from "./clip.js";
import { curlLine } from "./curl.js";
import { announce, byId, clock, showProblem, size } from "./dom.js";
import { setUpIntake } from "./intake.js";
import { currentKey } from "./key.js";
import { Player } from "./player.js";
import { markMoment, saveFile, saveSubtitles, setPlayable, showOthers, showResult } from "./result.js";
import { Scope } from "./scope.js";
import { Waiting } from "./waiting.js";

export class CaptionView {
  #clip = null;
  #answer = null;
  #answers = new Map();
  #running = null;
  #segments = [];
  #waiting = new Waiting();
  #player = new Player((seconds) => this.#moved(seconds));
  #scope = new Scope((seconds) => this.#player.seek(seconds));
  #problem = byId("caption-problem");
  #domain = byId("domain");

  constructor() {
    setUpIntake({
      onFile: (file) => this.take(file),
      onTrouble: (message) => this.fail(new api.Problem(message)),
    });
    this.#domain.addEventListener("change", () => this.#choose(this.#domain.value));
    byId("cancel").addEventListener("click", () => this.#running?.abort());
    byId("save-vtt").addEventListener("click", () => saveSubtitles(this.#answer, "vtt", this.#clip.name));
    byId("save-srt").addEventListener("click", () => saveSubtitles(this.#answer, "srt", this.#clip.name));
    byId("save-wav").addEventListener("click", () => saveFile(this.#clip.file, this.#clip.name));
    byId("copy-curl").addEventListener("click", () => this.#copyCurl());
  }

  /** Offer these domains; the chosen one stays chosen while it exists. */
  setDomains(domains) {
    const [chosen, hadNone] = [this.#domain.value, this.#domain.disabled];
    const names = domains.map((one) => one.name);
    this.#domain.replaceChildren(...names.map((name) => new Option(name, name)));
    this.#domain.disabled = names.length === 0;
    if (names.includes(chosen)) this.#domain.value = chosen;
    byId("no-domain").hidden = names.length > 0;
    // An answer of a version that no longer serves is not offered to compare with.
    const serving = new Set(domains.map((one) => `${one.name} ${one.version}`));
    for (const [name, one] of this.#answers) {
      if (!serving.has(`${name} ${one.domain_version}`)) this.#answers.delete(name);
    }
    const outdated = this.#answer && !this.#answers.has(this.#answer.domain) && names.includes(this.#answer.domain);
    if (outdated || (hadNone && this.#clip)) this.#caption();
  }

  fail(error) {
    showProblem(this.#problem, error);
  }

  /** Take a recording: show it, draw it and caption it. */
  async take(file) {
    this.#stop();
    this.#clip?.close();
    this.#answers.clear();
    this.#answer = null;
    this.#segments = [];
    const clip = new Clip(file);
    this.#clip = clip;
    this.#showClip(clip);
    this.#caption();
    clip.duration = await this.#player.load(clip);
    if (clip !== this.#clip) return;
    setPlayable(this.#player.playable);
    await this.#draw(clip);
  }

  #showClip(clip) {
    byId("drop").classList.add("has-clip");
    byId("file-label").textContent = "Choose another";
    byId("drop-text").textContent = "Drop another recording anywhere";
    byId("clip").hidden = false;
    byId("clip-name").textContent = clip.name;
    byId("clip-facts").textContent = size(clip.file.size);
    byId("save-wav").hidden = clip.name !== "recording.wav";
    this.#scope.expect();
  }

  async #draw(clip) {
    if (Number.isFinite(clip.duration)) {
      byId("clip-facts").textContent = `${clock(clip.duration)} · ${size(clip.file.size)}`;
      this.#scope.setDuration(clip.duration);
    }
    if (clip.duration > MAX_DRAWN_SECONDS) return this.#scope.fail("Too long to draw here; it is captioned anyway.");
    const decoded = await clip.decode();
    if (clip !== this.#clip) return;
    if (decoded === null) this.#scope.fail("This browser cannot play or draw this file.");
    else await this.#scope.draw(decoded.channels, decoded.rate);
    if (clip === this.#clip) this.#scope.setSegments(this.#segments);
  }

  #choose(domain) {
    const known = this.#answers.get(domain);
    this.#domain.value = domain;
    if (known) {
      this.#stop();
      this.#show(known);
    } else if (this.#clip) {
      this.#caption();
    }
  }

  async #caption() {
    const [clip, domain] = [this.#clip, this.#domain.value];
    if (!clip || this.#domain.disabled) return;
    this.#stop();
    const running = new AbortController();
    this.#running = running;
    showProblem(this.#problem, null);
    this.#setSegments([]);
    this.#waiting.start();
    try {
      const answer = await api.caption(clip.file, domain, {
        signal: running.signal,
        onUpload: (share) => this.#waiting.uploaded(share),
        onProgress: (report) => this.#progressed(running, report),
      });
      this.#answers.set(domain, answer);
      this.#waiting.stop();
      this.#show(answer);
      announce(`Caption in the words of ${domain}: ${answer.caption}`);
    } catch (error) {
      if (this.#running !== running) return;
      this.#waiting.stop();
      byId("answer").hidden = byId("result").hidden = this.#answer === null;
      this.#setSegments(this.#answer?.segments ?? []);
      if (error.name === "AbortError") announce("Cancelled");
      else this.fail(error);
    } finally {
      if (this.#running === running) this.#running = null;
    }
  }

  #progressed(running, report) {
    if (this.#running !== running) return;
    this.#waiting.progressed(report, { onPlay: (seconds) => this.#player.playFrom(seconds) });
    if (report.segments.length === 0) return;
    setPlayable(this.#player.playable);
    this.#setSegments([...this.#segments, ...report.segments]);
  }

  #setSegments(segments) {
    this.#segments = segments;
    this.#scope.setSegments(segments);
  }

  // Nothing more is heard of a request that something newer has replaced.
  #stop() {
    const running = this.#running;
    this.#running = null;
    running?.abort();
  }

  #show(answer) {
    this.#answer = answer;
    showProblem(this.#problem, null);
    this.#waiting.stop();
    byId("answer").hidden = false;
    showResult(answer, { onPlay: (seconds) => this.#player.playFrom(seconds) });
    setPlayable(this.#player.playable);
    const others = [...this.#answers.values()].filter((one) => one.domain !== answer.domain);
    showOthers(others, { onChoose: (domain) => this.#choose(domain) });
    this.#setSegments(answer.segments ?? []);
    byId("curl").textContent = curlLine(this.#clip.name, answer.domain, document.baseURI, currentKey() !== "");
  }

  #moved(seconds) {
    const index = this.#segments.findLastIndex((one) => one.start <= seconds && seconds < one.end);
    this.#scope.setTime(seconds, index);
    markMoment(byId(this.#running ? "so-far-list" : "segment-list"), index);
  }

  async #copyCurl() {
    const button = byId("copy-curl");
    try {
      await navigator.clipboard.writeText(byId("curl").textContent);
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      // Without the clipboard, as over plain http, the line is selected for the visitor to copy.
      getSelection().selectAllChildren(byId("curl"));
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
}
