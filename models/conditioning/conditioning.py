"""Conditioning: makes the prompt of a sound from its audio embedding and its neighbours in the domain.

The same neighbours are the support of the projection and the similar captions of the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from models.conditioning.projection import Projection, TextStatistics
from models.prompt import Prompt, SoundGroups, Weighted
from models.vectors import Float64Array, FloatArray


class Retrieved(Protocol):
    """A caption of the domain near the sound, its cosine similarity and its embedding [d].

    The neighbours of `datastores` have this form; models and datastores do not import each other.
    """

    @property
    def caption(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def vector(self) -> FloatArray: ...


# Captions whose words the decoder takes, and how fast their weight falls with their cosine. Both were best together in
# two domains; more and flatter is better than few and steep, because the CLAP errs in the order of its neighbours.
_VOICES, _VOICE_TEMPERATURE = 250, 0.2


def weights(scores: Sequence[float], temperature: float) -> Float64Array:
    """Return the weights exp(cosine / temperature) of captions, scaled to a sum of 1: cosines [n] -> [n]."""
    values = np.asarray(scores, dtype=np.float64)
    shares = np.exp((values - values.max(initial=-np.inf)) / temperature)
    scaled: Float64Array = shares / shares.sum()
    return scaled


@dataclass(frozen=True)
class Conditioning:
    """Makes prompts.

    Attributes:
        projection: pulls the audio embedding onto the text side.
        neighbours: captions that the projection weighs one by one, its head.
        vector: the vector in the prompt. Only ``projected`` is the method; ``raw`` (the audio embedding itself) and
            ``none`` (zeros, which training has seen too) measure what the projection and the vector contribute.
    """

    projection: Projection
    neighbours: int
    vector: Literal["projected", "raw", "none"] = "projected"

    def prompts(
        self,
        queries: FloatArray,
        near: Sequence[Sequence[Retrieved]],
        statistics: TextStatistics,
        similar: int,
        sounds: Sequence[SoundGroups] = (),
    ) -> list[Prompt]:
        """Make the prompt of each sound, from unit audio embeddings [n, d]; see `prompt`."""
        return [
            self.prompt(query, found, statistics, similar, named)
            for query, found, named in zip(queries, near, sounds or [()] * len(queries), strict=True)
        ]

    def prompt(
        self,
        query: FloatArray,
        near: Sequence[Retrieved],
        statistics: TextStatistics,
        similar: int,
        sounds: SoundGroups = (),
    ) -> Prompt:
        """Make the prompt of one sound.

        Args:
            query: unit audio embedding [d].
            near: its neighbours in the domain, best first.
            statistics: those of the whole domain's captions.
            similar: neighbours in the prompt as similar captions.
            sounds: what the CLAP is sure of.
        """
        voices = near[:_VOICES]
        shares = weights([one.score for one in voices], _VOICE_TEMPERATURE)
        return Prompt(
            self._vector(query, near, statistics),
            tuple(one.caption for one in near[:similar]),
            sounds,
            neighbours=tuple(Weighted(one.caption, float(w)) for one, w in zip(voices, shares, strict=True)),
        )

    def _vector(self, query: FloatArray, near: Sequence[Retrieved], statistics: TextStatistics) -> FloatArray:
        if self.vector == "raw":
            return query
        if self.vector == "none":
            return np.zeros_like(query)
        support = near[: self.neighbours]
        vectors = np.stack([one.vector for one in support])
        scores = np.array([one.score for one in support], dtype=np.float32)
        return self.projection.project(query, vectors, scores, statistics)
