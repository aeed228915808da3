"""Validation: the loss on held-out captions, and on recordings if there are any."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from datastores.base import Neighbour, Statistics
from models.clap.sounds import Sounds
from models.conditioning.conditioning import Conditioning
from models.conditioning.projection import Projection
from models.llm.language_model import Llm
from models.prompt import PromptTemplate
from models.vectors import FloatArray
from training.batches import Batch, BatchSource, collate
from training.corpora import EmbeddedCorpus
from training.examples import Example, ExampleOptions, ExampleSource
from training.similarity import on_grid

_HELD_OUT_PROMPTS = 32
_AT_ONCE = 8


@dataclass(frozen=True)
class HeardClip:
    """A recording as the CLAP hears it (unit vector [d]) with the captions of people."""

    vector: FloatArray
    references: tuple[str, ...]


def text_validation(
    llm: Llm,
    template: PromptTemplate,
    held: Sequence[EmbeddedCorpus],
    sounds: Sounds,
    options: ExampleOptions,
    tokens: int,
    seed: int,
) -> list[Batch]:
    """Return batches of held-out captions, the same for the same seed."""
    source = BatchSource(llm, template, ExampleSource(held, sounds, options), _AT_ONCE, tokens, seed)
    return [source[i] for i in range(_HELD_OUT_PROMPTS // _AT_ONCE)]


def audio_validation(
    llm: Llm,
    template: PromptTemplate,
    clips: Sequence[HeardClip],
    corpora: Sequence[EmbeddedCorpus],
    temperature: float,
    similar: int,
    tokens: int,
) -> list[Batch]:
    """Return batches with the references of clips as captions, and the prompts that inference would make.

    The training corpora together are the domain; the projection is exact.
    """
    captions = [caption for one in corpora for caption in one.corpus.captions]
    support = np.concatenate([one.vectors for one in corpora])
    compared = on_grid(support)
    dimension = support.shape[1]
    # No mean or covariance is needed: the head is the whole support.
    everything = Statistics(len(captions), np.zeros(dimension), np.zeros((dimension, dimension)))
    conditioning = Conditioning(Projection(temperature), len(captions))
    examples = []
    for clip in clips:
        scores = compared @ on_grid(clip.vector)
        order = np.argsort(-scores, kind="stable")
        near = [Neighbour(captions[i], float(scores[i]), support[i]) for i in order]
        prompt = conditioning.prompt(clip.vector, near, everything, similar)
        examples.append(Example((prompt,) * len(clip.references), clip.references))
    return [
        collate(llm, template, examples[start : start + _AT_ONCE], tokens)
        for start in range(0, len(examples), _AT_ONCE)
    ]


@torch.inference_mode()
def mean_loss(loss: nn.Module, batches: Sequence[Batch], device: torch.device) -> float:
    """Return the mean loss of a token over all batches, without dropout."""
    training = loss.training
    loss.eval()
    total, tokens = 0.0, 0
    for batch in batches:
        total += float(loss(batch.to(device))) * batch.tokens()
        tokens += batch.tokens()
    loss.train(training)
    return total / tokens
