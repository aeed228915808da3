// The microphone as a WAV file. The service cannot read what MediaRecorder writes, so the samples are taken raw.

import { encodeWav } from "./wav.js";

export const MAX_SECONDS = 600;
const LAST_PIECE_MS = 1000;

/** Why there can be no recording here, or an empty string. */
export function whyNoRecording() {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    return window.isSecureContext
      ? "This browser cannot record here."
      : "Recording needs https, or this page at localhost.";
  }
  return "";
}

export class Recorder {
  #pieces = [];
  #length = 0;

  /** Ask for the microphone and start. `onPiece({seconds, level})` is called about ten times a second. */
  static async start(onPiece) {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(new URL("recorder-worklet.js", import.meta.url));
      return new Recorder(stream, context, onPiece);
    } catch (error) {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      throw error;
    }
  }

  constructor(stream, context, onPiece) {
    this.stream = stream;
    this.context = context;
    this.tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    this.ended = new Promise((resolve) => {
      this.tap.port.onmessage = ({ data }) => {
        this.#take(data.samples, onPiece);
        if (data.last) resolve();
      };
    });
    context.createMediaStreamSource(stream).connect(this.tap);
  }

  /** Stop, and give the recording as a File. */
  async stop() {
    this.tap.port.postMessage("stop");
    // A context that the browser suspended never answers, so the samples that have arrived are kept.
    await Promise.race([this.ended, new Promise((resolve) => setTimeout(resolve, LAST_PIECE_MS))]);
    const rate = this.context.sampleRate;
    this.discard();
    return new File([encodeWav(this.#pieces, rate)], "recording.wav", { type: "audio/wav" });
  }

  discard() {
    this.stream.getTracks().forEach((track) => track.stop());
    this.context.close();
  }

  #take(samples, onPiece) {
    if (this.#length > MAX_SECONDS * this.context.sampleRate) return;
    this.#pieces.push(samples);
    this.#length += samples.length;
    const energy = samples.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(1, samples.length);
    onPiece({ seconds: this.#length / this.context.sampleRate, level: Math.sqrt(energy) });
  }
}
