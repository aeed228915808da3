"""Audio: bytes of a recording -> mono float32 at the CLAP's rate, cut into the CLAP's windows."""

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from service.audio import mpeg
from service.audio.containers import ACCEPTED, BrokenContainer, Container, UnknownContainer, inspect
from service.audio.rumble import CUT_HERTZ, remove_rumble
from service.audio.windows import SILENT_PEAK, STEPS_OF_SILENCE, Window, cut, peak_of
from service.errors import EmptyAudio, NotAudio, TooLarge, UnreadableAudio
from service.settings import AudioSettings, variable_name

FloatArray = NDArray[np.float32]

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
_BLOCK_SAMPLES = 1 << 16
# What libsndfile calls the formats that are coarser than 16 bits -> their smallest step, full scale being 1.
_COARSE_STEPS = {"PCM_S8": 2.0**-7, "PCM_U8": 2.0**-7, "ULAW": 2.0**-12, "ALAW": 2.0**-11}


@dataclass(frozen=True)
class Recording:
    """A decoded recording.

    Attributes:
        samples: mono float32 [samples] in [-1, 1] at `sample_rate`.
        sample_rate: in Hz.
        duration: of the recording as it was sent, in seconds.
        silent_peak: samples that stay below this magnitude are silence, given how finely the recording was written.
    """

    samples: FloatArray
    sample_rate: int
    duration: float
    silent_peak: float = SILENT_PEAK

    def windows(self, seconds: float) -> list[FloatArray]:
        """Cut into the fewest equal windows of at most so many seconds that together cover everything."""
        return [one.samples for one in self.cut(seconds)]

    def cut(self, seconds: float, hearings: int = 1) -> list[Window]:
        """Cut into windows that know their time, and may overlap: see `service.audio.windows.cut`."""
        longest = max(1, int(seconds * self.sample_rate))
        return cut(self.samples, self.duration, longest, hearings, self.silent_peak)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is only read forwards.

    soundfile seeks after every read of a file that can seek, which fails for FLAC of unknown length.
    """

    def seekable(self) -> bool:
        return False


class _Downmix:
    """Averages channels block by block, and keeps the account that shows whether they cancelled out.

    Offsets are left out of the account: what is in opposite phase would not be missed beside an offset common to all.
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
        """The channel of most energy."""
        return int(self._energies.argmax())

    @property
    def cancelled(self) -> bool:
        """Whether the mean is far below what the loudest channel alone would leave of itself in it."""
        mixed = self._mixed_squares - float(self._sums.mean()) ** 2 / self.frames
        alone = float(self._energies.max()) / len(self._sums) ** 2
        return mixed < 0.25 * alone

    @property
    def _energies(self) -> NDArray[np.float64]:
        return self._squares - self._sums**2 / self.frames


def decode(data: bytes, sample_rate: int, limits: AudioSettings) -> Recording:
    """Decode a whole recording. Blocking: call it from a thread.

    Channels are averaged; where they cancel each other out, the loudest one is taken instead. What lies below hearing
    is taken away, see `service.audio.rumble`, before the level is judged.

    Args:
        data: the file, in one of the containers of `service.audio.containers`.
        sample_rate: the rate to resample to, in Hz.
        limits: on the duration.

    Raises:
        NotAudio: the bytes are of no accepted container.
        TooLarge: it is longer than `limits.max_seconds`.
        UnreadableAudio: it is damaged, cut short, not finite, or of a rate outside 8 to 192 kHz.
        EmptyAudio: it has no samples, too few, or silence only: nothing, a constant, dither.
    """
    container = _inspect(data)
    _check_length(container.stated_seconds, limits)
    if container.cut is not None:
        raise UnreadableAudio(f"the recording is cut short: it {container.cut}")
    if container.kind == "mp3" and container.stated_seconds is None:
        data = mpeg.with_stated_seconds(data)
    try:
        recording = _decode(data, sample_rate, limits)
    except soundfile.SoundFileError as error:
        raise UnreadableAudio(f"the {container.kind.upper()} data cannot be decoded: {_reason(error)}") from error
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
        f" and what stays below {_dbfs(silent_peak):.1f} dBFS, {steps}, is taken for silence"
    )


def _dbfs(magnitude: float) -> float:
    return 20 * math.log10(magnitude)


def _inspect(data: bytes) -> Container:
    if not data:
        raise EmptyAudio("the recording is empty: it has 0 bytes")
    try:
        return inspect(data)
    except UnknownContainer as error:
        raise NotAudio(f"this is not audio that can be read, but {error}; send {ACCEPTED}") from error
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
        if frames < limits.min_seconds * rate:
            raise EmptyAudio(
                f"the recording lasts {frames / rate:.4f} s; at least {limits.min_seconds} s are needed"
                f" ({variable_name('audio', 'min_seconds')})"
            )
        silent_peak = max(SILENT_PEAK, STEPS_OF_SILENCE * _COARSE_STEPS.get(file.subtype, 0.0))
    if downmix.cancelled:
        samples = _one_channel(data, downmix.loudest, sample_rate, limits, frames)
    return Recording(samples, sample_rate, frames / rate, silent_peak)


def _one_channel(data: bytes, channel: int, sample_rate: int, limits: AudioSettings, frames: int) -> FloatArray:
    with _Sequential(io.BytesIO(data)) as file:
        blocks = (np.ascontiguousarray(block[:, channel]) for block in _blocks(file, limits))
        return _resampled(blocks, int(file.samplerate), sample_rate, frames)


def _blocks(file: soundfile.SoundFile, limits: AudioSettings) -> Iterator[FloatArray]:
    """Finite blocks [n, channels], until the end or until there are more seconds than allowed."""
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
    """Blocks at a rate -> all samples at another; `frames` is how many are expected, if that is known.

    When it resamples, the offset of the beginning is left out.
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
    """Blocks made ready for a resampler, which supposes 0 before and after them and rings where that is a step.

    They begin near 0, since the mean of the first 20 ms is taken from all, and go on with their reflection.

    Attributes:
        margin: samples of the reflection.
        frames: samples so far, the margin not counted.
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
    """One array of all parts, which are not held beside it: a long recording is there once."""
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
