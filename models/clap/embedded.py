"""The embedded CLAP: aisfx hears, MiniLM reads, the alignment head brings both into one space."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.clap.aisfx import SAMPLE_RATE, AisfxTower, WrongWeights
from models.clap.alignment import TEXT_DIM, AlignmentHead, summarise
from models.clap.base import FloatArray
from models.clap.minilm import MiniLmTextTower
from models.clap.whole_windows import WholeWindows

FORMAT = 1
WINDOW_SECONDS = 10.0


class EmbeddedClap(WholeWindows):
    """A small CLAP for CPUs, from files of three installed packages and the head trained here."""

    sample_rate = SAMPLE_RATE
    window_seconds = WINDOW_SECONDS
    embedding_dim = TEXT_DIM

    def __init__(self, audio: AisfxTower, text: MiniLmTextTower, head: AlignmentHead, *, temperature: float) -> None:
        self._audio = audio
        self._text = text
        self._head = head
        self._device = head.text_mean.device
        self.temperature = temperature
        self.fingerprint = head.fingerprint()

    @classmethod
    def load(cls, weights: Path, device: torch.device, *, exact: bool = False) -> "EmbeddedClap":
        """Load ``clap.safetensors`` of a bundle with the ``.json`` beside it, and the towers from their packages.

        `exact` leaves both towers in plain float32, where a CPU would run faster forms of them.

        Raises:
            MissingWeights: a package is not installed.
            WrongWeights: a file is absent, unreadable, of another format or does not hold these weights.
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
        audio = AisfxTower.from_package(device, exact=exact)
        return cls(audio, MiniLmTextTower.from_package(device, exact=exact), head, temperature=temperature)

    @torch.inference_mode()
    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """n mono windows of 1 sample up to `window_seconds` at `sample_rate` -> float32 [n, 384], unit norm.

        Each window is scaled, cut into blocks and summarised by itself, so a vector does not depend on the others.
        Raises ValueError for a window that is empty, too long, not mono or holds NaN or infinity.
        """
        vectors = np.empty((len(windows), TEXT_DIM), dtype=np.float32)
        for row, samples in enumerate(windows):
            vectors[row] = self._embed_window(self._checked(samples)).cpu().numpy()
        return vectors

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is within the text tower's 256 tokens."""
        return self._text.reads_whole(texts)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """n captions -> float32 [n, 384], centred, unit norm."""
        raw = torch.from_numpy(self._text.embed(texts)).to(self._device)
        with torch.inference_mode():
            return np.asarray(self._head.centre_text(raw).cpu().numpy(), dtype=np.float32)

    def _embed_window(self, samples: Tensor) -> Tensor:
        posteriors, inputs = summarise(self._audio, self._audio.features(samples))
        return torch.as_tensor(self._head(posteriors.unsqueeze(0), inputs.unsqueeze(0))[0])

    def _checked(self, samples: FloatArray) -> Tensor:
        longest = round(self.window_seconds * self.sample_rate)
        if samples.ndim != 1 or not 1 <= samples.shape[0] <= longest:
            raise ValueError(f"a window must be mono with 1 to {longest} samples, got the shape {samples.shape}")
        if not np.isfinite(samples).all():
            raise ValueError("a window holds samples that are not finite")
        return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(self._device)
