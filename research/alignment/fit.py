"""Fits the alignment head: the vectors of classes and categories, and the kernel by its closed-form solution.

Kernel ridge regression (Saunders, Gammerman and Vovk 1998) of the difference between the caption and the rest of the
head: coefficients = (K + ridge diag(1 / w))^-1 (target_weight T - written), w the example weights with mean 1.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.clap import yamnet
from models.clap.aisfx import FEATURES, HIDDEN
from models.clap.alignment import REDUCED, TEXT_DIM, AlignmentHead, inputs_of, sounding
from models.clap.categories import CATEGORIES
from research.alignment.hearing import HeardWaveform, balanced
from research.alignment.sentences import Label, SoundClass

EmbedText = Callable[[list[str]], Tensor]
_SCALE_FLOOR = 0.05
# Classes that describe where or how a recording was made. Captions do not say it, so these classes get weight 0.
UNSAID = (
    *("Silence", "Inside, small room", "Inside, large room or hall", "Inside, public space"),
    *("Outside, urban or manmade", "Outside, rural or natural", "Reverberation", "Echo", "Noise"),
    *("Environmental noise", "Static", "Cacophony", "Sound effect", "Television", "Radio", "Field recording"),
)


@dataclass(frozen=True)
class Recipe:
    """The settings of the fit; docs/alignment.md says how they were chosen.

    Attributes:
        bandwidth: of the kernel: how far from a training clip it has influence.
        ridge: of the regression; a larger one trusts the clips less.
        target_weight: length of the target that the kernel adds up to.
        rareness: exponent by which a class that is often heard counts less.
    """

    bandwidth: float = 0.3
    ridge: float = 0.3
    target_weight: float = 1.0
    rareness: float = 0.3


@dataclass(frozen=True)
class Examples:
    """The n windows that the kernel is fitted to.

    Attributes:
        written: output of the head without the kernel [n, TEXT_DIM].
        inputs: of the kernel [n, INPUTS].
        targets: wanted output [n, TEXT_DIM].
        weights: of the examples [n], with mean 1.
        labels: of the sounds in each window.
        collections: the sets these sounds come from.
    """

    written: Tensor
    inputs: Tensor
    targets: Tensor
    weights: Tensor
    labels: list[tuple[str, ...]]
    collections: list[tuple[str, ...]]

    def without(self, groups: Collection[str], collections: Collection[str], labels: dict[str, Label]) -> "Examples":
        """Return the examples without these kinds of sound and without clips of these sets."""
        rows = [
            index
            for index, names in enumerate(self.labels)
            if not {labels[name].group for name in names} & set(groups)
            and not set(self.collections[index]) & set(collections)
        ]
        keep = torch.tensor(rows)
        return Examples(
            self.written[keep],
            self.inputs[keep],
            self.targets[keep],
            self.weights[keep],
            [self.labels[index] for index in rows],
            [self.collections[index] for index in rows],
        )


def category_vectors(sentences: dict[str, tuple[str, ...]], embed: EmbedText) -> Tensor:
    """Return for each category the mean of its sentence vectors minus the mean of all: unit [categories, TEXT_DIM]."""
    means = torch.stack([mean_vector(list(sentences[name]), embed) for name in CATEGORIES])
    return functional.normalize(means - means.mean(dim=0), dim=1)


@dataclass(frozen=True)
class ClassSentences:
    """Vectors of each class's name [classes, TEXT_DIM] and of its sentences [classes, sentences, TEXT_DIM]."""

    names: Tensor
    own: Tensor

    @classmethod
    def read(cls, classes: Sequence[SoundClass], embed: EmbedText) -> "ClassSentences":
        """Embed names and sentences; all classes have the same number of sentences."""
        own = embed([sentence for one in classes for sentence in one.sentences])
        names = embed([f"the sound of {one.name}" for one in classes])
        return cls(names, own.view(len(classes), -1, TEXT_DIM))

    @property
    def vectors(self) -> Tensor:
        """Mean of a class's name and the mean of its sentences, equally weighted: unit [classes, TEXT_DIM]."""
        return functional.normalize(self.own.mean(dim=1) + self.names, dim=1)


@torch.no_grad()
def fit_priors(
    head: AlignmentHead, clips: Sequence[HeardWaveform], classes: Sequence[SoundClass], recipe: Recipe
) -> None:
    """Set the weight of each class and the means of both priors from recordings, without their labels."""
    kept = [item.posteriors[sounding(item.posteriors)] for item in clips]
    share = torch.stack([one.square().mean(dim=0).sqrt() for one in kept]).mean(dim=0)
    head.class_weights.copy_(share.clamp(min=1e-5) ** -recipe.rareness)
    head.class_weights[[index for index, one in enumerate(classes) if one.name in UNSAID]] = 0.0
    head.class_mean.copy_(torch.stack([head.heard(one) for one in kept]).mean(dim=0))
    head.category_mean.copy_(torch.stack([head.effects(item.categories) for item in clips]).mean(dim=0))


@torch.no_grad()
def build_examples(
    head: AlignmentHead, heard: Sequence[HeardWaveform], labels: dict[str, Label], embed: EmbedText
) -> Examples:
    """Return the output of the head without a kernel for each waveform, with the target for it.

    The target is the mean direction of the captions of all sounds in the waveform; two sounds count alike.
    """
    words = {
        name: functional.normalize(mean_vector(list(label.captions), embed), dim=0) for name, label in labels.items()
    }
    weights = torch.from_numpy(balanced([labels[item.labels[0]].group for item in heard])).float()
    written, inputs = [], []
    for item in heard:
        heard_in = sounding(item.posteriors)
        frames = head.frames(item.posteriors, item.features, item.categories, item.blocks)
        written.append(head.written(head.prior(frames[heard_in])))
        inputs.append(inputs_of(item.features, item.blocks)[heard_in].mean(dim=0))
    targets = [sum((words[name] for name in item.labels), torch.zeros(TEXT_DIM)) for item in heard]
    return Examples(
        torch.stack(written),
        torch.stack(inputs),
        functional.normalize(torch.stack(targets), dim=1),
        weights / weights.mean(),
        [item.labels for item in heard],
        [item.collections for item in heard],
    )


@torch.no_grad()
def fit_kernel(head: AlignmentHead, examples: Examples, recipe: Recipe) -> AlignmentHead:
    """Return a copy of the head with a kernel fitted to the examples; deterministic."""
    fitted = AlignmentHead(landmarks=len(examples.inputs))
    kernel = ("landmarks", "coefficients")
    fitted.load_state_dict(
        {name: value for name, value in head.state_dict().items() if name not in kernel}, strict=False
    )
    _fit_reduction(fitted, examples.inputs)
    fitted.bandwidth.fill_(recipe.bandwidth)
    reduced = examples.inputs @ fitted.reduction + fitted.reduction_bias
    fitted.landmarks.copy_(functional.normalize(reduced, dim=1))
    lacking = recipe.target_weight * examples.targets - examples.written
    system = fitted.kernel(fitted.landmarks, fitted.landmarks).double()
    system += torch.diag(recipe.ridge / examples.weights.double())
    fitted.coefficients.copy_(torch.linalg.solve(system, lacking.double()))
    return fitted


def mean_vector(texts: list[str], embed: EmbedText) -> Tensor:
    """Return the mean direction of texts [TEXT_DIM]."""
    return functional.normalize(embed(texts).mean(dim=0), dim=0)


def _fit_reduction(head: AlignmentHead, inputs: Tensor) -> None:
    """Scale inputs to unit variance, weigh the three kinds of inputs alike, and keep the principal components."""
    mean, scale, weights = [], [], []
    for part in torch.split(inputs, [yamnet.FEATURES, FEATURES, HIDDEN], dim=1):
        mean.append(part.mean(dim=0))
        scale.append(part.std(dim=0) + _SCALE_FLOOR * part.std())
        weights.append(torch.full((part.shape[1],), part.shape[1] ** -0.5))
    centre, slope = torch.cat(mean), torch.cat(weights) / torch.cat(scale)
    scaled = ((inputs - centre) * slope).double()
    # Of unit rows, because the kernel compares directions.
    scaled = functional.normalize(scaled, dim=1)
    _, vectors = torch.linalg.eigh(scaled.T @ scaled)
    reduction = slope[:, None] * vectors[:, -REDUCED:].float()
    head.reduction.copy_(reduction)
    head.reduction_bias.copy_(-centre @ reduction)
