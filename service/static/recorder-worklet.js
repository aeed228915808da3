// Hands the microphone's samples to the page in pieces of about a tenth of a second, mixed to mono.

const PIECE = 4096;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(PIECE);
    this.filled = 0;
    this.port.onmessage = () => this.hand(true);
  }

  process([channels]) {
    const length = channels[0]?.length ?? 0;
    for (let n = 0; n < length; n++) {
      let sum = 0;
      for (const channel of channels) sum += channel[n];
      this.piece[this.filled++] = sum / channels.length;
      if (this.filled === PIECE) this.hand(false);
    }
    return true;
  }

  hand(last) {
    this.port.postMessage({ samples: this.piece.slice(0, this.filled), last });
    this.filled = 0;
  }
}

registerProcessor("tap", Tap);
