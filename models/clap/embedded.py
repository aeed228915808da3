"""The embedded CLAP: YAMNet and aisfx hear, MiniLM reads, and the alignment head joins them in one space."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from models.clap import aisfx, minilm, yamnet
from models.clap.aisfx import SAMPLE_RATE, AisfxTower
from models.clap.alignment import TEXT_DIM, AlignmentHead
from models.clap.backend import CLAP, Backend, ClapSection, first_size
from models.clap.categories import category_posteriors
from models.clap.mel import check_window
from models.clap.minilm import MiniLmTextTower
from models.clap.sounds import vocabulary
from models.clap.yamnet import CLASSES, PATCH, STEP_SECONDS, YamnetTower
from models.clap.yamnet import SAMPLE_RATE as YAMNET_RATE
from models.vectors import FloatArray
from models.weights import Part, WrongWeights, bundle_part, package_part

FORMAT = 2
WINDOW_SECONDS = 10.0
_TOWERS = {
    "audio tower, YAMNet": yamnet.PACKAGE_FILE,
    "audio tower, aisfx": aisfx.PACKAGE_FILE,
    "text tower": minilm.PACKAGE_FILE,
}


class Ears:
    """The two audio towers."""

    def __init__(self, yamnet: YamnetTower, aisfx: AisfxTower) -> None:
        self._yamnet = yamnet
        self._aisfx = aisfx

    @classmethod
    def from_packages(cls, device: torch.device, *, exact: bool = False) -> "Ears":
        """Load both towers. Raises `MissingWeights` or `WrongWeights`; for `exact` see `AisfxTower.from_package`."""
        return cls(YamnetTower.from_package(device), AisfxTower.from_package(device, exact=exact))

    @torch.inference_mode()
    def hear(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Turn mono samples [n] at SAMPLE_RATE into the arguments of `AlignmentHead.frames`."""
        slow = soxr.resample(samples.cpu().numpy(), SAMPLE_RATE, YAMNET_RATE)
        # One or two samples leave none at the lower rate.
        features = self._yamnet.features(torch.from_numpy(np.resize(slow, max(1, len(slow)))).to(samples.device))
        blocks = self._aisfx.features(samples)
        hidden, by_head = self._aisfx.classify(blocks)
        posteriors = torch.sigmoid(self._yamnet.logits(features))
        return posteriors, features, category_posteriors(by_head), torch.cat([blocks, hidden], dim=1)


class EmbeddedClap:
    """A small CLAP for CPUs: towers from installed packages, and the bundle's alignment head."""

    sample_rate = SAMPLE_RATE
    window_seconds = WINDOW_SECONDS
    frame_seconds = PATCH * STEP_SECONDS
    embedding_dim = TEXT_DIM

    def __init__(self, ears: Ears, text: MiniLmTextTower, head: AlignmentHead, *, temperature: float) -> None:
        self._ears = ears
        self._text = text
        self._head = head
        self._device = head.text_mean.device
        self.temperature = temperature
        self.fingerprint = head.fingerprint()
        self.sound_names = tuple(kind.label for kind in vocabulary())

    @classmethod
    def load(cls, weights: Path, device: torch.device, *, exact: bool = False) -> "EmbeddedClap":
        """Load ``clap.safetensors`` of a bundle with the ``.json`` beside it, and the towers from their packages.

        With `exact` the towers compute in plain float32; otherwise two of them have faster forms on a CPU.

        Raises:
            MissingWeights: a package is not installed.
            WrongWeights: a file is absent, unreadable, of another format, or holds other weights.
        """
        path = weights.with_suffix(".json")
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
            version, temperature = int(description["format"]), float(description["temperature"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WrongWeights(f"{path} does not describe an embedded CLAP: {error}") from error
        if version != FORMAT or not temperature > 0:
            raise WrongWeights(
                f"{path} has format {version} and temperature {temperature}; need {FORMAT} and one above 0"
            )
        head = AlignmentHead.from_file(weights, device)
        ears = Ears.from_packages(device, exact=exact)
        return cls(ears, MiniLmTextTower.from_package(device, exact=exact), head, temperature=temperature)

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Embed n mono windows of 1 sample up to `window_seconds` at `sample_rate` -> float32 [n, 384], unit norm.

        Raises ValueError for a window that is empty, too long, not mono or holds NaN or infinity.
        """
        return self.embed_frames(self.hear(windows))

    @torch.inference_mode()
    def hear(self, windows: Sequence[FloatArray]) -> list[FloatArray]:
        """Turn n mono windows into float32 [frames, FRAME] each, a frame about every 0.48 s. Raises as `embed_audio`.

        Each window is scaled and heard by itself, so its frames do not depend on the other windows.
        """
        return [
            np.asarray(self._head.frames(*self._ears.hear(self._checked(samples))).cpu().numpy(), dtype=np.float32)
            for samples in windows
        ]

    @torch.inference_mode()
    def embed_frames(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """Embed n stretches [frames, FRAME] of at least one frame -> float32 [n, 384], unit norm."""
        vectors = np.empty((len(stretches), TEXT_DIM), dtype=np.float32)
        for row, frames in enumerate(stretches):
            vectors[row] = self._head(torch.from_numpy(frames).to(self._device)).cpu().numpy()
        return vectors

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        """Return YAMNet's posteriors [frames, CLASSES] of frames [frames, FRAME], in 0 to 1."""
        return frames[:, :CLASSES]

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text fits into the text tower's 256 tokens."""
        return self._text.reads_whole(texts)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed n captions -> float32 [n, 384], centred, unit norm."""
        raw = torch.from_numpy(self._text.embed(texts)).to(self._device)
        with torch.inference_mode():
            return np.asarray(self._head.centre_text(raw).cpu().numpy(), dtype=np.float32)

    def _checked(self, samples: FloatArray) -> Tensor:
        check_window(samples, round(self.window_seconds * self.sample_rate))
        return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(self._device)


def _load(section: ClapSection, folder: Path, device: torch.device) -> EmbeddedClap:
    return EmbeddedClap.load(folder / section.source, device)


def _parts(section: ClapSection, folder: Path) -> Iterator[Part]:
    yield bundle_part(CLAP, section.source, folder)
    yield bundle_part("CLAP description", str(Path(section.source).with_suffix(".json")), folder)
    for name, (package, relative) in _TOWERS.items():
        yield package_part(name, package, relative)


BACKEND = Backend(_load, partial(first_size, "text_mean"), _parts, tuple(_TOWERS))
