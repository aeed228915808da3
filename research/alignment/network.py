"""Trains the network of the alignment head on captions alone.

For each caption the text tower says which classes it names. Their vectors make a prior as if these classes had been
heard: some are missed, some are wrong, some are confused with similar ones. The network learns the way back to the
caption. No recording is needed, so the network does not favour the kinds of sound that recordings exist for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.clap.alignment import NETWORK, TEXT_DIM, AlignmentHead
from research.alignment.sentences import SoundClass

# Caption files whose licences allow shipping: of sounds, of speech with sounds, and of music with sounds.
CORPORA = ("mecat_sound", "mecat_speech_sound", "mecat_speech_music_sound", "mecat_music_sound", "wavtext5k")
_JOINTS = ("{} while {}", "{} and {}", "{} as {}", "{} followed by {}", "{}, then {}", "{} with {} in the background")
_STRONGEST = 20


@dataclass(frozen=True)
class NetworkOptions:
    """How the network is trained; docs/alignment.md says how these values were chosen.

    Attributes:
        composed: share of a batch that joins phrases of several classes.
        alone: share of a batch that is a class's own sentence.
        temperatures: lowest and highest temperature of the softmax that says which classes a caption names.
        missed: share of a caption's classes that are not heard.
        wrong: largest weight of classes that are heard and not there; the others sum to 1.
        noise: largest length of a random direction added to the prior, whose length is 1.
    """

    steps: int = 1500
    batch: int = 256
    rate: float = 1e-3
    composed: float = 0.2
    alone: float = 0.05
    temperatures: tuple[float, float] = (0.03, 0.08)
    missed: float = 0.2
    wrong: float = 0.5
    noise: float = 0.5
    dropout: float = 0.1
    decay: float = 0.05


@dataclass(frozen=True)
class Lessons:
    """Sentences as centred vectors [n, TEXT_DIM], with the classes they name.

    Attributes:
        captions, relevance: captions, and how much each says about each class [n, classes].
        composed, composed_classes: composed sentences, and 1 for the classes in each [n, classes].
        alone, alone_classes: sentences of single classes, and 1 for the class of each [n, classes].
    """

    captions: Tensor
    relevance: Tensor
    composed: Tensor
    composed_classes: Tensor
    alone: Tensor
    alone_classes: Tensor


def compose(classes: Sequence[SoundClass], count: int, seed: int) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return `count` sentences that join phrases of two or three classes, and the classes of each."""
    generator = torch.Generator().manual_seed(seed)
    sentences, members = [], []
    for _ in range(count):
        joint = _JOINTS[int(torch.randint(len(_JOINTS), (), generator=generator))]
        chosen = torch.randperm(len(classes), generator=generator)[
            : 3 if torch.rand((), generator=generator) < 0.2 else 2
        ]
        first, second, *third = (classes[int(one)].phrases for one in chosen)
        text = joint.format(first[0], second[1] if "with {" in joint else second[0])
        text += "".join(f", followed by {one[1]}" for one in third)
        sentences.append(text[0].upper() + text[1:])
        members.append(tuple(int(one) for one in chosen))
    return sentences, members


def train_network(head: AlignmentHead, lessons: Lessons, options: NetworkOptions, seed: int) -> None:
    """Train the head's network on priors made from captions and its class vectors; the loss is 1 - cosine."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pupil = _Pupil(head, options.dropout)
    optimizer = torch.optim.AdamW(pupil.parameters(), lr=options.rate, weight_decay=options.decay)
    for step in range(options.steps):
        warm, cool = min(1.0, (step + 1) / 50), (1.0 + math.cos(math.pi * step / options.steps)) / 2
        optimizer.param_groups[0]["lr"] = options.rate * warm * cool
        weights, targets = _draw(lessons, options, generator)
        prior = _misheard(weights, head.class_vectors, options, generator)
        loss = (1.0 - (pupil(prior) * targets).sum(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pupil.hand_over(head)


class _Pupil(nn.Module):
    """`AlignmentHead.network` with gradients and dropout."""

    def __init__(self, head: AlignmentHead, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(TEXT_DIM, NETWORK)
        self.output = nn.Linear(NETWORK, TEXT_DIM)
        self._head = head
        self._dropout = dropout

    def forward(self, prior: Tensor) -> Tensor:
        hidden = functional.gelu(self.hidden(AlignmentHead.SPREAD * prior))
        return functional.normalize(prior + self.output(functional.dropout(hidden, self._dropout)), dim=1)

    @torch.no_grad()
    def hand_over(self, head: AlignmentHead) -> None:
        head.hidden_weight.copy_(self.hidden.weight)
        head.hidden_bias.copy_(self.hidden.bias)
        head.output_weight.copy_(self.output.weight)
        head.output_bias.copy_(self.output.bias)


def _draw(lessons: Lessons, options: NetworkOptions, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the weights of the classes to hear [batch, classes], which sum to 1, and targets [batch, TEXT_DIM]."""
    composed, alone = round(options.batch * options.composed), round(options.batch * options.alone)
    count = options.batch - composed - alone
    rows = torch.randint(len(lessons.captions), (count,), generator=generator)
    low, high = (math.log(one) for one in options.temperatures)
    temperature = torch.exp(low + (high - low) * torch.rand(count, 1, generator=generator))
    relevance = lessons.relevance[rows] + 0.05 * torch.randn(count, lessons.relevance.shape[1], generator=generator)
    spoken = _strongest(torch.softmax(relevance / temperature, dim=1))
    pairs = torch.randint(len(lessons.composed), (composed,), generator=generator)
    loudness = 0.1 + 0.9 * torch.rand(composed, lessons.composed_classes.shape[1], generator=generator)
    singles = torch.randint(len(lessons.alone), (alone,), generator=generator)
    weights = torch.cat([spoken, lessons.composed_classes[pairs] * loudness, lessons.alone_classes[singles]])
    targets = torch.cat([lessons.captions[rows], lessons.composed[pairs], lessons.alone[singles]])
    return weights / weights.sum(dim=1, keepdim=True), targets


def _misheard(weights: Tensor, vectors: Tensor, options: NetworkOptions, generator: torch.Generator) -> Tensor:
    """Weights [batch, classes] -> unit priors [batch, TEXT_DIM] as a tower that makes mistakes hears them."""
    batch, classes = weights.shape
    alike = _strongest(weights @ torch.softmax(vectors @ vectors.T / 0.1, dim=1))
    taken = 0.5 * torch.rand(batch, 1, generator=generator)
    weights = (1.0 - taken) * weights + taken * alike
    weights = weights * (torch.rand(batch, classes, generator=generator) > options.missed)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
    absent = torch.softmax(3.0 * torch.randn(batch, classes, generator=generator), dim=1)
    weights = weights + options.wrong * torch.rand(batch, 1, generator=generator) * absent
    prior = functional.normalize(weights @ vectors, dim=1)
    direction = functional.normalize(torch.randn(batch, TEXT_DIM, generator=generator), dim=1)
    return functional.normalize(prior + options.noise * torch.rand(batch, 1, generator=generator) * direction, dim=1)


def _strongest(weights: Tensor) -> Tensor:
    weakest = weights.topk(_STRONGEST, dim=1).values[:, -1:]
    return torch.where(weights >= weakest, weights, 0.0)
