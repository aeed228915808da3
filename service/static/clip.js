// A recording that the visitor gave: to play, to draw, to send.

const FINE_RATE = 24_000;
const COARSE_RATE = 12_000;
const FINE_SECONDS = 300;
/** Longer ones are played but not drawn: decoding needs memory by the second. */
export const MAX_DRAWN_SECONDS = 1800;

export class Clip {
  constructor(file) {
    this.file = file;
    this.name = file.name;
    this.url = URL.createObjectURL(file);
    /** Seconds; NaN where this browser cannot tell. */
    this.duration = NaN;
  }

  /** Its channels at a rate that suits the length: `{channels, rate}`, or null when this browser cannot decode it. */
  async decode() {
    const rate = this.duration > FINE_SECONDS ? COARSE_RATE : FINE_RATE;
    try {
      const context = new OfflineAudioContext(1, 1, rate);
      const buffer = await context.decodeAudioData(await this.file.arrayBuffer());
      const numbers = [...Array(buffer.numberOfChannels).keys()];
      return { channels: numbers.map((number) => buffer.getChannelData(number).slice()), rate };
    } catch {
      return null;
    }
  }

  close() {
    URL.revokeObjectURL(this.url);
  }
}
