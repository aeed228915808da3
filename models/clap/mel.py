"""The front end of CLAPs: windows of fixed length and their log-mel spectrograms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.vectors import FloatArray


@dataclass(frozen=True)
class MelSettings:
    """Settings of a CLAP's spectrogram.

    Attributes:
        sample_rate: sample rate in Hz.
        hop: samples between frames.
        frame: samples of a frame, all under a Hann window.
        bands: number of mel bands between `lowest` and `highest` Hz.
        scale: ``slaney`` for the filters of librosa, of unit area on Slaney's scale; ``htk`` for those of torchaudio,
            of unit height on the HTK scale.
        floor: least power; lower powers are raised to it.
        seconds: length of a window in seconds.
    """

    sample_rate: int = 48_000
    hop: int = 480
    frame: int = 1_024
    bands: int = 64
    lowest: float = 50.0
    highest: float = 14_000.0
    scale: Literal["slaney", "htk"] = "slaney"
    floor: float = 1e-10
    seconds: float = 10.0

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return round(self.seconds * self.sample_rate)


class LogMel(nn.Module):
    """Log-mel spectrograms in dB: power of centred, reflected Hann frames, mel bands, 10 log10."""

    window: Tensor
    filters: Tensor

    def __init__(self, settings: MelSettings) -> None:
        super().__init__()
        self.settings = settings
        # Double precision: in single precision the quiet bands beside a pure tone are noise, and their decibels count
        # as much as those of loud bands.
        window = torch.hann_window(settings.frame, periodic=True, dtype=torch.float64)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", mel_filters(settings).double(), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """[n, samples] -> [n, 1, samples / hop + 1, bands]."""
        settings = self.settings
        spectrum = torch.stft(
            windows.double(), settings.frame, settings.hop, window=self.window, center=True, pad_mode="reflect",
            return_complex=True,
        )  # fmt: skip
        power = spectrum.real.square() + spectrum.imag.square()
        bands = power.transpose(1, 2) @ self.filters
        return (10.0 * torch.log10(bands.clamp(min=settings.floor))).float().unsqueeze(1)


def mel_filters(settings: MelSettings) -> Tensor:
    """Return the mel filters, float32 [frame / 2 + 1, bands]."""
    from transformers.audio_utils import mel_filter_bank

    slaney = settings.scale == "slaney"
    filters = mel_filter_bank(
        num_frequency_bins=settings.frame // 2 + 1,
        num_mel_filters=settings.bands,
        min_frequency=settings.lowest,
        max_frequency=settings.highest,
        sampling_rate=settings.sample_rate,
        norm="slaney" if slaney else None,
        mel_scale="slaney" if slaney else "htk",
    )
    return torch.from_numpy(np.asarray(filters, dtype=np.float32))


def fill_windows(windows: Sequence[FloatArray], samples: int) -> Tensor:
    """Fill mono windows of 1 to `samples` samples to [n, samples], each by itself.

    A short window is repeated as often as it fits whole, and silence fills the rest: LAION's ``repeatpad``. There is
    no random crop: the caller cuts a longer recording into windows, so that all of it is heard.

    Raises:
        ValueError: a window is empty, too long, not mono, or holds NaN or infinity.
    """
    filled = np.zeros((len(windows), samples), dtype=np.float32)
    for row, window in enumerate(windows):
        check_window(window, samples)
        repeated = np.tile(window, samples // len(window))
        filled[row, : len(repeated)] = repeated
    return torch.from_numpy(filled)


def check_window(window: FloatArray, samples: int) -> None:
    """Raise ValueError if a window is not mono with 1 to `samples` finite samples."""
    if window.ndim != 1 or not 1 <= len(window) <= samples:
        raise ValueError(f"a window must be mono with 1 to {samples} samples, got the shape {window.shape}")
    if not np.isfinite(window).all():
        raise ValueError("a window holds samples that are not finite")
