// A radix-2 Fourier transform, in place, after Cooley and Tukey (1965), with its tables made once.

export class Fourier {
  /** For `size` points, a power of two. */
  constructor(size) {
    if (size < 2 || (size & (size - 1)) !== 0) throw new RangeError("the size must be a power of two");
    this.size = size;
    this.real = new Float64Array(size);
    this.imaginary = new Float64Array(size);
    this.window = Float64Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
    this.cosines = Float64Array.from({ length: size / 2 }, (_, n) => Math.cos((2 * Math.PI * n) / size));
    this.sines = Float64Array.from({ length: size / 2 }, (_, n) => -Math.sin((2 * Math.PI * n) / size));
    const bits = Math.log2(size);
    this.reversed = Uint32Array.from({ length: size }, (_, n) => reverse(n, bits));
  }

  /**
   * The power |X|² of bins 0 to size / 2 of the Hann-windowed samples that start at `start`, written to `power`
   * [size / 2 + 1]; what lies outside of the samples counts as zero.
   */
  power(samples, start, power) {
    const { size, real, imaginary, window, reversed } = this;
    for (let n = 0; n < size; n++) {
      real[reversed[n]] = (samples[start + n] ?? 0) * window[n];
    }
    imaginary.fill(0);
    this.#transform();
    for (let bin = 0; bin <= size / 2; bin++) {
      power[bin] = real[bin] * real[bin] + imaginary[bin] * imaginary[bin];
    }
  }

  #transform() {
    const { size, real, imaginary, cosines, sines } = this;
    for (let half = 1; half < size; half *= 2) {
      const step = size / (2 * half);
      for (let block = 0; block < size; block += 2 * half) {
        for (let n = 0; n < half; n++) {
          const [upper, lower] = [block + n, block + n + half];
          const [cosine, sine] = [cosines[n * step], sines[n * step]];
          const turnedReal = real[lower] * cosine - imaginary[lower] * sine;
          const turnedImaginary = real[lower] * sine + imaginary[lower] * cosine;
          real[lower] = real[upper] - turnedReal;
          imaginary[lower] = imaginary[upper] - turnedImaginary;
          real[upper] += turnedReal;
          imaginary[upper] += turnedImaginary;
        }
      }
    }
  }
}

function reverse(number, bits) {
  let result = 0;
  for (let bit = 0; bit < bits; bit++) result |= ((number >> bit) & 1) << (bits - 1 - bit);
  return result;
}
