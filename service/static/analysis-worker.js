// Waveform and spectrogram of a recording, away from the page's thread and posted column by column.
//
// The work is bounded whatever the length: a fixed number of columns, a few transforms each.

import { Fourier } from "./fft.js";
import { frequencyOfRow } from "./pitch.js";

const SIZE = 1024;
const FRAMES_PER_COLUMN = 4;
const COLUMNS_PER_MESSAGE = 64;
const PROBES = 96;
const RANGE_DECIBELS = 62;
const SILENCE = 1e-9;

self.addEventListener("message", ({ data }) => {
  const { channels, rate, columns, rows } = data;
  const samples = mixed(channels);
  self.postMessage({ kind: "wave", peaks: peaks(samples, columns) });
  const fourier = new Fourier(SIZE);
  const bands = bandsOf(rows, rate);
  const loudest = loudestLevel(fourier, samples, bands);
  for (let from = 0; from < columns; from += COLUMNS_PER_MESSAGE) {
    const until = Math.min(columns, from + COLUMNS_PER_MESSAGE);
    const levels = new Uint8ClampedArray((until - from) * rows);
    for (let column = from; column < until; column++) {
      const decibels = columnLevels(fourier, samples, bands, column / columns, 1 / columns);
      for (let row = 0; row < rows; row++) {
        levels[(column - from) * rows + row] = 255 * (1 + (decibels[row] - loudest) / RANGE_DECIBELS);
      }
    }
    self.postMessage({ kind: "levels", from, levels });
  }
  self.postMessage({ kind: "done" });
});

function mixed([samples, ...others]) {
  if (others.length === 0) return samples;
  for (const other of others) {
    for (let n = 0; n < samples.length; n++) samples[n] += other[n];
  }
  return samples.map((sample) => sample / (others.length + 1));
}

// The lowest and the highest sample of each column: [columns, 2].
function peaks(samples, columns) {
  const found = new Float32Array(columns * 2);
  for (let column = 0; column < columns; column++) {
    const start = Math.floor((column * samples.length) / columns);
    const end = Math.max(start + 1, Math.floor(((column + 1) * samples.length) / columns));
    let [low, high] = [0, 0];
    for (let n = start; n < end && n < samples.length; n++) {
      if (samples[n] < low) low = samples[n];
      if (samples[n] > high) high = samples[n];
    }
    found.set([low, high], column * 2);
  }
  return found;
}

// Row by row, the first and the last bin of a band; row 0 is the highest.
function bandsOf(rows, rate) {
  const bin = (row) => (frequencyOfRow(row, rows, rate / 2) * SIZE) / rate;
  return Array.from({ length: rows }, (_, row) => {
    const [low, high] = [bin(row + 1), bin(row)];
    const first = Math.min(SIZE / 2, Math.max(0, Math.round(low)));
    return [first, Math.max(first, Math.min(SIZE / 2, Math.round(high)))];
  });
}

function columnLevels(fourier, samples, bands, start, width) {
  const span = width * samples.length;
  const frames = Math.max(1, Math.min(FRAMES_PER_COLUMN, Math.floor(span / (SIZE / 2))));
  const sums = new Float64Array(bands.length);
  const power = new Float64Array(SIZE / 2 + 1);
  for (let frame = 0; frame < frames; frame++) {
    const centre = start * samples.length + ((frame + 0.5) * span) / frames;
    fourier.power(samples, Math.round(centre - SIZE / 2), power);
    bands.forEach(([first, last], row) => {
      let strongest = 0;
      for (let bin = first; bin <= last; bin++) strongest = Math.max(strongest, power[bin]);
      sums[row] += strongest;
    });
  }
  return sums.map((sum) => 10 * Math.log10(sum / frames + SILENCE));
}

function loudestLevel(fourier, samples, bands) {
  let loudest = 10 * Math.log10(SILENCE);
  for (let probe = 0; probe < PROBES; probe++) {
    for (const level of columnLevels(fourier, samples, bands, probe / PROBES, 0)) {
      if (level > loudest) loudest = level;
    }
  }
  return loudest;
}
