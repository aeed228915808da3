"""Alignment heads with random vectors, and waveforms as they hear them."""

import torch

from models.clap.aisfx import FEATURES, HIDDEN
from models.clap.alignment import INPUTS, TEXT_DIM, AlignmentHead
from models.clap.categories import CATEGORIES
from models.clap.yamnet import CLASSES, SILENCE
from models.clap.yamnet import FEATURES as YAMNET_FEATURES
from research.alignment.fit import Examples, Recipe, fit_kernel
from research.alignment.hearing import HeardWaveform

CPU = torch.device("cpu")


def unit_vectors(rows: int, columns: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def heard_waveform(seed: int, labels: tuple[str, ...] = ("rain",), frames: int = 5, blocks: int = 2) -> HeardWaveform:
    generator = torch.Generator().manual_seed(seed)
    posteriors = torch.rand(frames, CLASSES, generator=generator) ** 4
    posteriors[:, SILENCE] = 0.0
    return HeardWaveform(
        posteriors,
        torch.rand(frames, YAMNET_FEATURES, generator=generator),
        torch.softmax(torch.randn(blocks, len(CATEGORIES), generator=generator), dim=1),
        torch.randn(blocks, FEATURES + HIDDEN, generator=generator),
        labels,
        ("a",),
    )


def head_without_kernel() -> AlignmentHead:
    head = AlignmentHead(landmarks=0)
    head.text_mean.fill_(0.01)
    head.class_vectors.copy_(unit_vectors(CLASSES, TEXT_DIM, 1))
    head.category_vectors.copy_(unit_vectors(len(CATEGORIES), TEXT_DIM, 2))
    return head


def kernel_examples(count: int) -> Examples:
    return Examples(
        written=unit_vectors(count, TEXT_DIM, 3),
        inputs=torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(0)),
        targets=unit_vectors(count, TEXT_DIM, 4),
        weights=torch.ones(count),
        labels=[("rain",) if index % 2 else ("dog", "rain") for index in range(count)],
        collections=[("a",) if index < 4 else ("b",) for index in range(count)],
    )


def fitted_head(count: int = 12) -> AlignmentHead:
    return fit_kernel(head_without_kernel(), kernel_examples(count), Recipe(ridge=1e-4))
