"""Hears the training clips and waveforms made from them with the audio towers, and caches the result."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from models.clap.aisfx import SAMPLE_RATE
from models.clap.embedded import Ears
from models.vectors import FloatArray
from research.alignment.augment import make_waveform
from research.alignment.recordings import ListedClip, read_audio
from research.alignment.sentences import Label
from research.alignment.synthesis import synthesise

VARIANTS = 14
MIXTURES = 0.55
SYNTHETIC = "synthetic"
_LONGEST = 10 * SAMPLE_RATE
# Increased whenever the output of the towers changes.
_TOWERS = 2


@dataclass(frozen=True)
class HeardWaveform:
    """A waveform as the audio towers hear it.

    Attributes:
        posteriors, features, categories, blocks: what `Ears.hear` returns for it.
        labels: of the one or two sounds in it.
        collections: the sets they come from.
    """

    posteriors: Tensor
    features: Tensor
    categories: Tensor
    blocks: Tensor
    labels: tuple[str, ...]
    collections: tuple[str, ...]


_TENSORS = ("posteriors", "features", "categories", "blocks")


def hear(
    clips: list[ListedClip], labels: dict[str, Label], ears: Ears, *, examples: int, seed: int, cache: Path
) -> tuple[list[HeardWaveform], list[HeardWaveform]]:
    """Hear the first ten seconds of the clips and of synthesised ones, and `examples` waveforms made from them.

    The cache file is named after the clips, the counts and the seed, so that another recipe never reads it.

    Returns:
        The clips and synthesised sounds, and the made waveforms, as heard.
    """
    recipe = [[clip.path.name, clip.label] for clip in clips], VARIANTS, MIXTURES, examples, seed, _TOWERS
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    path = cache / f"features-{key}.npz"
    if path.is_file():
        with np.load(path) as stored:
            return _unpack(stored, "clips"), _unpack(stored, "examples")
    rng = np.random.default_rng(seed)
    synthetic = synthesise(VARIANTS, rng)
    names = [clip.label for clip in clips] + [label for label, _ in synthetic]
    origins = [clip.collection for clip in clips] + [SYNTHETIC] * len(synthetic)
    recordings = [read_audio(clip.path) for clip in clips] + [samples for _, samples in synthetic]

    def own() -> Iterator[tuple[FloatArray, tuple[int, ...]]]:
        for index, samples in enumerate(recordings):
            yield samples[:_LONGEST], (index,)

    def mixed() -> Iterator[tuple[FloatArray, tuple[int, ...]]]:
        groups = [labels[name].group for name in names]
        weights = balanced(groups)
        for _ in range(examples):
            made = make_waveform(recordings, weights, groups, MIXTURES, rng)
            yield made.samples, made.sources

    def listen(waveforms: Iterator[tuple[FloatArray, tuple[int, ...]]], count: int, title: str) -> list[HeardWaveform]:
        return [
            HeardWaveform(
                *ears.hear(torch.from_numpy(samples)),
                tuple(names[source] for source in sources),
                tuple(origins[source] for source in sources),
            )
            for samples, sources in track(waveforms, description=f"Hearing {title}", total=count)
        ]

    heard = listen(own(), len(recordings), "clips")
    examples_heard = listen(mixed(), examples, "examples")
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(path, **_pack(heard, "clips"), **_pack(examples_heard, "examples"))
    return heard, examples_heard


def balanced(groups: list[str]) -> NDArray[np.float64]:
    """Return the probability of each clip [n]; a kind with many clips is drawn more often, but not in proportion."""
    weights = np.array([groups.count(group) ** -0.5 for group in groups])
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _pack(heard: list[HeardWaveform], name: str) -> dict[str, FloatArray | NDArray[np.str_]]:
    packed: dict[str, FloatArray | NDArray[np.str_]] = {
        f"{name}-{index}-{tensor}": getattr(item, tensor).numpy()
        for index, item in enumerate(heard)
        for tensor in _TENSORS
    }
    packed[name] = np.array([json.dumps([item.labels, item.collections]) for item in heard])
    return packed


def _unpack(stored: np.lib.npyio.NpzFile, name: str) -> list[HeardWaveform]:
    described = [json.loads(str(text)) for text in stored[name]]
    return [
        HeardWaveform(
            **{tensor: torch.from_numpy(stored[f"{name}-{index}-{tensor}"]) for tensor in _TENSORS},
            labels=tuple(labels),
            collections=tuple(collections),
        )
        for index, (labels, collections) in enumerate(described)
    ]
