// The spectrogram's vertical axis: mel, which gives more room to the frequencies that ears tell apart.

const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
const hertz = (mels) => 700 * (10 ** (mels / 2595) - 1);

/** The frequency at the upper edge of a row, where row 0 touches `top` Hz and row `rows` 0 Hz. */
export const frequencyOfRow = (row, rows, top) => hertz(mel(top) * (1 - row / rows));

/** How far from the top a frequency lies, as a share of the height. */
export const heightOf = (frequency, top) => 1 - mel(frequency) / mel(top);
