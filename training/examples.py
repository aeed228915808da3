"""Training examples of the decoder: vectors in place of sounds, similar captions, and the captions to write."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.vectors import FloatArray
from training.corpora import TrainingCorpus
from training.similarity import Float64Array, SelectionRange, candidate_pool, on_grid
from training.styles import draw_style

_SUPPORT_SEED = 0


@dataclass(frozen=True)
class ExampleOptions:
    """How examples are drawn.

    Attributes:
        selection: similarity range of the captions in the prompt.
        pool: candidates for similar captions that are kept for each caption.
        similar: fewest and most captions in a prompt.
        drop: chance of each similar caption to be omitted, so that prompts reach past the very nearest.
        plain: share of prompts without similar captions.
        project: share of vectors that are projected on the support, as at inference; the rest are not.
        noise: largest ratio of Gaussian noise to vector.
        mishear: share of examples whose vector lies between the captions and another one. A CLAP confuses sounds:
            its audio embedding is near captions that fit each other but not the recording. Gaussian noise does not
            imitate this, because the projection removes it. A decoder that has seen only vectors of the true captions
            trusts its vector too much.
        blind: share of examples without a vector (zeros), so that the effect of the vector can be measured.
        temperatures: range of the projection's tau.
        restyle: share of examples written in another style than their corpus.
        targets: most captions to write from one prompt. They are neighbours of each other, like the captions of one
            recording by several people.
        support: number of captions of a corpus that vectors are projected on, drawn once. Projecting on 500,000 for
            every example takes longer than the LLM.
    """

    selection: SelectionRange
    pool: int = 48
    similar: tuple[int, int] = (1, 8)
    drop: float = 0.2
    plain: float = 0.1
    project: float = 0.8
    noise: float = 0.6
    mishear: float = 0.7
    blind: float = 0.08
    temperatures: tuple[float, float] = (0.03, 0.08)
    restyle: float = 0.0
    targets: int = 6
    support: int = 20_000

    def __post_init__(self) -> None:
        for name in ("drop", "plain", "project", "mishear", "blind", "restyle"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")
        if not 0 <= self.similar[0] <= self.similar[1] <= self.pool:
            raise ValueError(f"similar is 0 <= fewest <= most <= {self.pool}, got {self.similar}")
        if self.targets < 1 or self.support < 1 or self.noise < 0:
            raise ValueError("targets and support are at least 1, noise is not negative")


@dataclass(frozen=True)
class Example:
    """An example in place of a recording: its prompt, and the captions to write.

    Attributes:
        vector: in place of the audio embedding [d].
        similar_captions: of the prompt, best first.
        captions: to write; each sees the prompt and no other caption.
    """

    vector: FloatArray
    similar_captions: tuple[str, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        """Return an estimate of its length in characters."""
        return sum(map(len, (*self.similar_captions, *self.captions)))


class ExampleSource:
    """Draws examples from corpora; the generator passed to `draw` makes every random choice."""

    def __init__(
        self,
        corpora: Sequence[TrainingCorpus],
        vectors: Sequence[FloatArray],
        options: ExampleOptions,
        device: torch.device | None = None,
    ) -> None:
        """Args:
        corpora: to draw from.
        vectors: unit text vectors [n, d] of the captions of each corpus.
        options: how examples are drawn.
        device: computes the candidates; None for the CPU.
        """
        self._options = options
        self._corpora = corpora
        self._vectors = [on_grid(v) for v in vectors]
        self._pools = [candidate_pool(v, options.selection, options.pool, device) for v in vectors]
        mass = np.array([len(c.captions) * c.weight for c in corpora])
        self._share = mass / mass.sum()
        sample = np.random.default_rng(_SUPPORT_SEED)
        self._supports = [
            v if len(v) <= options.support else v[sample.choice(len(v), options.support, replace=False)]
            for v in self._vectors
        ]

    def draw(self, rng: np.random.Generator) -> Example:
        """Return an example of a random corpus, drawn by its weight."""
        corpus = int(rng.choice(len(self._corpora), p=self._share))
        row = int(rng.integers(len(self._corpora[corpus].captions)))
        return self.example(corpus, row, rng)

    def example(self, corpus: int, row: int, rng: np.random.Generator) -> Example:
        """Return an example of one caption with some of its neighbours."""
        options = self._options
        captions, vectors = self._corpora[corpus].captions, self._vectors[corpus]
        style = draw_style(random.Random(int(rng.integers(2**32))), 1.0 - options.restyle)  # noqa: S311
        pool = self._pools[corpus][row]
        pool = pool[pool >= 0]
        count = min(int(rng.integers(options.targets)), len(pool) // 4)
        rows = [row, *(int(i) for i in rng.choice(pool, count, replace=False))]
        said = _unit(vectors[rows].mean(axis=0))
        misheard = rng.random() < options.mishear
        if misheard:
            said = self._misheard(vectors, said, rng)
        heard = _noisy(said, options.noise, rng)
        candidates = None if misheard else pool
        similar = () if rng.random() < options.plain else self._similar(vectors, candidates, rows, heard, rng)
        return Example(
            self._vector(corpus, rows, heard, rng).astype(np.float32),
            tuple(style(captions[i]) for i in similar),
            tuple(style(captions[i]) for i in rows),
        )

    def _misheard(self, vectors: Float64Array, said: Float64Array, rng: np.random.Generator) -> Float64Array:
        """Return a vector between `said` and another caption of random similarity to it."""
        low, high = self._options.selection.low, self._options.selection.high
        likeness = rng.uniform(low / 2, high)
        other = vectors[int(np.abs(vectors @ said - likeness).argmin())]
        share = rng.uniform()
        return _unit(share * said + (1.0 - share) * other)

    def _similar(
        self,
        vectors: Float64Array,
        candidates: NDArray[np.int32] | None,
        rows: Sequence[int],
        heard: Float64Array,
        rng: np.random.Generator,
    ) -> list[int]:
        """Return the candidates nearest to the heard vector, as retrieval does; None makes all captions candidates."""
        if candidates is None:
            near, candidates = vectors, np.arange(len(vectors), dtype=np.int32)
        else:
            near = vectors[candidates]
        scores = near @ heard
        # A near copy of a caption to write would give it away.
        scores[(near @ vectors[list(rows)].T).max(axis=1) >= self._options.selection.high] = -np.inf
        scores[np.isin(candidates, rows)] = -np.inf
        scores[rng.random(len(candidates)) < self._options.drop] = -np.inf
        fewest, most = self._options.similar
        order = np.argsort(-scores, kind="stable")[: int(rng.integers(fewest, most + 1))]
        return [int(candidates[i]) for i in order if np.isfinite(scores[i])]

    def _vector(self, corpus: int, rows: Sequence[int], heard: Float64Array, rng: np.random.Generator) -> Float64Array:
        if rng.random() < self._options.blind:
            return np.zeros_like(heard)
        return self._projected(corpus, rows, heard, rng) if rng.random() < self._options.project else heard

    def _projected(
        self, corpus: int, rows: Sequence[int], heard: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        support = self._supports[corpus]
        scores = support @ heard
        # Without the captions to write and near copies: at inference the true caption is not in the datastore.
        scores[(support @ self._vectors[corpus][list(rows)].T).max(axis=1) >= self._options.selection.high] = -np.inf
        if not np.isfinite(scores).any():
            return heard
        tau = rng.uniform(*self._options.temperatures)
        weights = np.exp((scores - scores.max()) / tau)
        return _unit(weights @ support)


def _noisy(vector: Float64Array, most: float, rng: np.random.Generator) -> Float64Array:
    noise = rng.standard_normal(len(vector))
    return _unit(vector + noise * (rng.uniform(0.0, most) / _norm(noise)))


def _unit(vector: Float64Array) -> Float64Array:
    return on_grid(vector / max(_norm(vector), 1e-12))


def _norm(vector: Float64Array) -> float:
    """Return the length of a vector; unlike numpy's, it does not depend on the order of summation."""
    return math.sqrt(math.fsum((vector * vector).tolist()))
