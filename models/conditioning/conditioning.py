"""Conditioning: what the LLM is given of a sound. The same neighbours are support and similar captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.conditioning.projection import Moments
from models.prompt import Prompt

FloatArray = NDArray[np.float32]


class Retrieved(Protocol):
    """A caption of the domain near the sound: its cosine similarity and its embedding [d]."""

    @property
    def caption(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def vector(self) -> FloatArray: ...


class Projecting(Protocol):
    """`models.conditioning.projection.Projection`."""

    def project(
        self, query: FloatArray, vectors: FloatArray, scores: FloatArray, moments: Moments, /
    ) -> FloatArray: ...


@dataclass(frozen=True)
class Conditioning:
    """How a prompt is made of an audio embedding and its neighbours.

    Attributes:
        projection: pulls the audio embedding onto the text side.
        neighbours: how many of the neighbours are the projection's head.
        vector: what stands in the prompt. Only ``projected`` is the method; ``raw`` (the audio embedding as it is)
            and ``none`` (zeros, which training has seen too) are there to measure what the projection and the
            vector are worth.
    """

    projection: Projecting
    neighbours: int
    vector: Literal["projected", "raw", "none"] = "projected"

    def prompt(self, query: FloatArray, near: Sequence[Retrieved], moments: Moments, similar: int) -> Prompt:
        """The prompt of one sound.

        Args:
            query: unit audio embedding [d].
            near: its neighbours in the domain, best first.
            moments: of the whole domain.
            similar: how many of the neighbours stand in the prompt as similar captions.
        """
        return Prompt(self._vector(query, near, moments), tuple(one.caption for one in near[:similar]))

    def _vector(self, query: FloatArray, near: Sequence[Retrieved], moments: Moments) -> FloatArray:
        if self.vector == "raw":
            return query
        if self.vector == "none":
            return np.zeros_like(query)
        support = near[: self.neighbours]
        vectors = np.stack([one.vector for one in support])
        scores = np.array([one.score for one in support], dtype=np.float32)
        return self.projection.project(query, vectors, scores, moments)
