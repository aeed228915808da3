"""Decoding: bytes of a recording -> mono float32 at the CLAP's rate, cut into the CLAP's windows."""

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from models.vectors import FloatArray
from service.audio import mpeg
from service.audio.containers import BrokenContainer, Container, UnknownContainer, inspect
from service.audio.formats import NAMES_WITH_CODECS, AudioFormat
from service.audio.rumble import CUT_HERTZ, remove_rumble
from service.audio.windows import SILENT_PEAK, STEPS_OF_SILENCE, Window, cut, peak_of
from service.errors import EmptyAudio, NotAudio, TooLarge, UnreadableAudio
from service.settings import AudioSettings, variable_name

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
_BLOCK_SAMPLES = 1 << 16
# Seconds of audio below which a recording counts as empty.
_MIN_SECONDS = 0.05
# libsndfile's name of each format coarser than 16 bits -> its smallest step at a full scale of 1.
_COARSE_STEPS = {"PCM_S8": 2.0**-7, "PCM_U8": 2.0**-7, "ULAW": 2.0**-12, "ALAW": 2.0**-11}


@dataclass(frozen=True)
class Recording:
    """A decoded recording.

    Attributes:
        samples: mono float32 [samples] in [-1, 1] at `sample_rate`.
        sample_rate: in Hz.
        duration: of the recording as sent, in seconds.
        silent_peak: a peak below this is silence at the recording's resolution.
    """

    samples: FloatArray
    sample_rate: int
    duration: float
    silent_peak: float = SILENT_PEAK

    def windows(self, seconds: float) -> list[FloatArray]:
        """Cut into the fewest equal windows of at most these seconds that cover everything."""
        return [one.samples for one in self.cut(seconds)]

    def cut(self, seconds: float, hearings: int = 1) -> list[Window]:
        """Cut into windows that know their time and may overlap; see `service.audio.windows.cut`."""
        longest = max(1, int(seconds * self.sample_rate))
        return cut(self.samples, self.duration, longest, hearings, self.silent_peak)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is only read forwards.

    soundfile seeks after every read of a seekable file, which fails for FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


class _Downmix:
    """Averages channels block by block, and measures whether they cancel each other.

    The measure ignores offsets, since an offset common to all channels would hide that their sounds cancel.
    """

    def __init__(self, channels: int) -> None:
        self._sums = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._mixed_squares = 0.0
        self.frames = 0

    def add(self, block: FloatArray) -> FloatArray:
        """Frames [n, channels] -> their mean [n]."""
        mixed: NDArray[np.float64] = block.mean(axis=1, dtype=np.float64)
        self._sums += block.sum(axis=0, dtype=np.float64)
        self._squares += np.square(block, dtype=np.float64).sum(axis=0)
        self._mixed_squares += float(np.square(mixed).sum())
        self.frames += len(block)
        return mixed.astype(np.float32)

    @property
    def loudest(self) -> int:
        """The channel with the most energy."""
        return int(self._energies.argmax())

    @property
    def cancelled(self) -> bool:
        """Whether the mean has less than a quarter of the energy that the loudest channel alone contributes."""
        mixed = self._mixed_squares - float(self._sums.mean()) ** 2 / self.frames
        alone = float(self._energies.max()) / len(self._sums) ** 2
        return mixed < 0.25 * alone

    @property
    def _energies(self) -> NDArray[np.float64]:
        return self._squares - self._sums**2 / self.frames


def decode(data: bytes, sample_rate: int, limits: AudioSettings) -> Recording:
    """Decode a whole recording. Blocks: call it from a thread.

    Channels are averaged; if they cancel each other, the loudest one is taken instead. Rumble is removed before the
    level is judged, see `service.audio.rumble`.

    Args:
        data: the file, in one of the formats of `service.audio.formats`.
        sample_rate: rate of the result, in Hz.
        limits: of the duration.

    Raises:
        NotAudio: the bytes are not in an accepted format.
        TooLarge: it is longer than `limits.max_seconds`.
        UnreadableAudio: it is damaged, cut short, not finite, or has a rate outside 8 to 192 kHz.
        EmptyAudio: it has no samples, too few samples, or only silence: zeros, a constant, dither.
    """
    container = _inspect(data)
    _check_length(container.stated_seconds, limits)
    if container.cut is not None:
        raise UnreadableAudio(f"the recording is cut short: it {container.cut}")
    if container.format is AudioFormat.MP3 and container.stated_seconds is None:
        data = mpeg.with_stated_seconds(data)
    try:
        recording = _decode(data, sample_rate, limits)
    except soundfile.SoundFileError as error:
        raise UnreadableAudio(f"the {container.format.name} data cannot be decoded: {_reason(error)}") from error
    remove_rumble(recording.samples, sample_rate)
    peak = peak_of(recording.samples)
    if not math.isfinite(peak):
        raise UnreadableAudio("the recording holds samples too large to be resampled")
    if peak < recording.silent_peak:
        raise EmptyAudio(_nothing_to_hear(peak, recording.silent_peak))
    if peak > 1.0:
        recording.samples[:] /= peak
    return recording


def _nothing_to_hear(peak: float, silent_peak: float) -> str:
    found = f"the recording peaks at {_dbfs(peak):.1f} dBFS" if peak > 0 else "nothing is left of the recording"
    steps = f"{STEPS_OF_SILENCE} steps of {'16 bits' if silent_peak == SILENT_PEAK else 'its format'}"
    return (
        f"there is nothing to hear: {found} once its offset and rumble below {CUT_HERTZ:g} Hz are removed,"
        f" and a peak below {_dbfs(silent_peak):.1f} dBFS, {steps}, counts as silence"
    )


def _dbfs(magnitude: float) -> float:
    return 20 * math.log10(magnitude)


def _inspect(data: bytes) -> Container:
    if not data:
        raise EmptyAudio("the recording is empty: it has 0 bytes")
    try:
        return inspect(data)
    except UnknownContainer as error:
        raise NotAudio(f"this is not audio in a supported format but {error}; send {NAMES_WITH_CODECS}") from error
    except BrokenContainer as error:
        raise UnreadableAudio(f"the recording is damaged: {error}") from error


def _decode(data: bytes, sample_rate: int, limits: AudioSettings) -> Recording:
    with _Sequential(io.BytesIO(data)) as file:
        rate = int(file.samplerate)
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise UnreadableAudio(
                f"the recording has a rate of {rate} Hz; {LOWEST_RATE} to {HIGHEST_RATE} Hz can be read"
            )
        stated = int(file.frames)
        known = 0 < stated < 1 << 62
        _check_length(stated / rate if known else None, limits)
        downmix = _Downmix(file.channels)
        mixed = (downmix.add(block) for block in _blocks(file, limits))
        samples = _resampled(mixed, rate, sample_rate, stated if known else 0)
        frames = downmix.frames
        if known and frames < stated:
            raise UnreadableAudio(
                f"the recording is cut short: it ended after {frames / rate:.2f} s of {stated / rate:.2f} s"
            )
        if frames == 0:
            raise EmptyAudio("the recording is empty: it has 0 samples")
        if frames < _MIN_SECONDS * rate:
            raise EmptyAudio(f"the recording lasts {frames / rate:.4f} s; at least {_MIN_SECONDS} s are needed")
        silent_peak = max(SILENT_PEAK, STEPS_OF_SILENCE * _COARSE_STEPS.get(file.subtype, 0.0))
    if downmix.cancelled:
        samples = _one_channel(data, downmix.loudest, sample_rate, limits, frames)
    return Recording(samples, sample_rate, frames / rate, silent_peak)


def _one_channel(data: bytes, channel: int, sample_rate: int, limits: AudioSettings, frames: int) -> FloatArray:
    with _Sequential(io.BytesIO(data)) as file:
        blocks = (np.ascontiguousarray(block[:, channel]) for block in _blocks(file, limits))
        return _resampled(blocks, int(file.samplerate), sample_rate, frames)


def _blocks(file: soundfile.SoundFile, limits: AudioSettings) -> Iterator[FloatArray]:
    """Yield finite blocks [n, channels] until the end. Raises `TooLarge` above the allowed seconds."""
    frames, size = 0, max(1, _BLOCK_SAMPLES // file.channels)
    while True:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise UnreadableAudio(
                f"the recording is damaged or cut short: decoding failed somewhere after"
                f" {frames / file.samplerate:.2f} s ({_reason(error)})"
            ) from error
        if not len(block):
            return
        frames += len(block)
        _check_length(frames / file.samplerate, limits)
        if not np.isfinite(block).all():
            raise UnreadableAudio("the recording holds samples that are NaN or infinite")
        yield block


def _resampled(blocks: Iterator[FloatArray], rate: int, sample_rate: int, frames: int) -> FloatArray:
    """Blocks at one rate -> all samples at another. `frames` is the expected number of frames, or 0.

    Resampling removes the offset of the beginning.
    """
    if rate == sample_rate:
        return _joined(blocks, frames + 1)
    settled = _Settled(blocks, rate)
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    resampled = (stream.resample_chunk(block) for block in settled)
    last = (stream.resample_chunk(block, last=True) for block in [np.zeros(0, np.float32)])
    samples = _joined(chain(resampled, last), math.ceil((frames + settled.margin) * sample_rate / rate) + 1)
    return samples[: int(settled.frames * sample_rate / rate + 0.5)]


class _Settled:
    """Blocks prepared for a resampler, which assumes zeros before and after them and rings at a step.

    The mean of the first 20 ms is subtracted, so that they begin near 0, and a reflection extends their end.

    Attributes:
        margin: samples of the reflection.
        frames: samples so far, without the margin.
    """

    def __init__(self, blocks: Iterator[FloatArray], rate: int) -> None:
        self._blocks = blocks
        self.margin = rate // 50
        self.frames = 0

    def __iter__(self) -> Iterator[FloatArray]:
        offset, end = np.float32(0), np.zeros(0, np.float32)
        for block in self._blocks:
            if self.frames == 0:
                offset = np.float32(block[: self.margin].mean(dtype=np.float64))
            self.frames += len(block)
            settled = block - offset
            end = settled[-self.margin :]
            yield settled
        if len(end):
            yield np.pad(end, (0, self.margin), mode="symmetric")[len(end) :]


def _joined(parts: Iterable[FloatArray], expected: int) -> FloatArray:
    """Join the parts in one array, without holding them all beside it, since a recording may be long."""
    samples, length = np.empty(expected, np.float32), 0
    for part in parts:
        if length + len(part) > len(samples):
            longer = np.empty(2 * (length + len(part)), np.float32)
            longer[:length] = samples[:length]
            samples = longer
        samples[length : length + len(part)] = part
        length += len(part)
    return samples[:length]


def _reason(error: soundfile.SoundFileError) -> str:
    text = str(getattr(error, "error_string", error))
    return text.removeprefix("Error : ").strip().rstrip(".")


def _check_length(seconds: float | None, limits: AudioSettings) -> None:
    if seconds is not None and seconds > limits.max_seconds:
        raise TooLarge(
            f"the recording lasts {seconds:.1f} s; {limits.max_seconds:g} s are allowed"
            f" ({variable_name('audio', 'max_seconds')})"
        )
