"""Fits the alignment head: which examples it sees, in which words, and the closed-form solution.

Kernel ridge regression (Saunders, Gammerman and Vovk 1998) of what the prior lacks to reach the caption:
coefficients = (K + ridge diag(1 / w))^-1 (target_weight T - prior), w the example weights with mean 1.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.clap.aisfx import AisfxTower
from models.clap.alignment import CATEGORIES, TEXT_DIM, AlignmentHead, summarise
from training.alignment_data import Label
from training.alignment_features import Heard, balanced

EmbedText = Callable[[list[str]], Tensor]
_SCALE_FLOOR = 0.05


@dataclass(frozen=True)
class Recipe:
    """How strongly and how far around a training clip it is believed; chosen as told in docs/alignment.md."""

    bandwidth: float = 0.37
    ridge: float = 0.03
    target_weight: float = 2.0
    subsets: int = 1


@dataclass(frozen=True)
class Examples:
    """n windows: posteriors [n, categories], inputs [n, INPUTS], targets [n, TEXT_DIM], weights [n], labels of each."""

    posteriors: Tensor
    inputs: Tensor
    targets: Tensor
    weights: Tensor
    labels: list[tuple[str, ...]]
    collections: list[tuple[str, ...]]

    def without(self, groups: Collection[str], collections: Collection[str], labels: dict[str, Label]) -> "Examples":
        """The examples in which none of these kinds of sound, and nothing of these sets, is heard."""
        rows = [
            index
            for index, names in enumerate(self.labels)
            if not {labels[name].group for name in names} & set(groups)
            and not set(self.collections[index]) & set(collections)
        ]
        keep = torch.tensor(rows)
        return Examples(
            self.posteriors[keep],
            self.inputs[keep],
            self.targets[keep],
            self.weights[keep],
            [self.labels[index] for index in rows],
            [self.collections[index] for index in rows],
        )


def category_vectors(sentences: dict[str, tuple[str, ...]], embed: EmbedText) -> Tensor:
    """Per category the mean of its sentence vectors, less what all categories share: unit [categories, TEXT_DIM]."""
    means = torch.stack([functional.normalize(embed(list(sentences[name])).mean(dim=0), dim=0) for name in CATEGORIES])
    return functional.normalize(means - means.mean(dim=0), dim=1)


@torch.inference_mode()
def build_examples(
    clips: list[Heard],
    mixed: list[Heard],
    labels: dict[str, Label],
    tower: AisfxTower,
    embed: EmbedText,
    *,
    subsets: int,
    seed: int,
) -> Examples:
    """Each clip whole and as `subsets` random choices of its blocks, and each made example.

    The target is the mean direction of the captions of all that is heard: two sounds count alike.
    """
    rng = np.random.default_rng(seed)
    words = {name: _label_vector(label, embed) for name, label in labels.items()}
    shares = balanced([labels[item.labels[0]].group for item in [*clips, *mixed]])
    rows: list[tuple[Tensor, Heard, float]] = []
    for index, item in enumerate([*clips, *mixed]):
        rows.append((item.features, item, shares[index]))
        blocks = len(item.features)
        for _ in range(subsets if index < len(clips) and blocks > 1 else 0):
            chosen = rng.permutation(blocks)[: int(rng.integers(1, blocks))]
            rows.append((item.features[torch.from_numpy(chosen)], item, shares[index]))
    summaries = [summarise(tower, features) for features, _, _ in rows]
    targets = [sum((words[name] for name in item.labels), torch.zeros(TEXT_DIM)) for _, item, _ in rows]
    weights = torch.tensor([share for _, _, share in rows], dtype=torch.float32)
    return Examples(
        torch.stack([posteriors for posteriors, _ in summaries]),
        torch.stack([inputs for _, inputs in summaries]),
        functional.normalize(torch.stack(targets), dim=1),
        weights / weights.mean(),
        [item.labels for _, item, _ in rows],
        [item.collections for _, item, _ in rows],
    )


@torch.no_grad()
def fit(examples: Examples, categories: Tensor, text_mean: Tensor, recipe: Recipe) -> AlignmentHead:
    """Solve for the head; deterministic."""
    head = AlignmentHead(landmarks=len(examples.inputs))
    spread = examples.inputs.std(dim=0)
    head.text_mean.copy_(text_mean)
    head.categories.copy_(categories)
    head.input_mean.copy_(examples.inputs.mean(dim=0))
    head.input_scale.copy_(spread + _SCALE_FLOOR * examples.inputs.std())
    head.bandwidth.fill_(recipe.bandwidth)
    head.landmarks.copy_(head.directions(examples.inputs))
    lacking = recipe.target_weight * examples.targets - head.prior(examples.posteriors)
    system = head.kernel(head.landmarks, head.landmarks).double()
    system += torch.diag(recipe.ridge / examples.weights.double())
    head.coefficients.copy_(torch.linalg.solve(system, lacking.double()))
    return head


def _label_vector(label: Label, embed: EmbedText) -> Tensor:
    return functional.normalize(embed(list(label.captions)).mean(dim=0), dim=0)
