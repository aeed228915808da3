"""Training examples of the decoder: similar captions, and captions to write from vectors that stand for sounds."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.corpora import Corpus
from training.similarity import Float64Array, FloatArray, SelectionRange, candidate_pool, on_grid
from training.styles import draw_style

_SUPPORT_SEED = 0


@dataclass(frozen=True)
class ExampleOptions:
    """How examples are drawn.

    Attributes:
        selection: similarity range of the captions in the prompt.
        pool: candidates kept a caption.
        similar: fewest and most captions in a prompt.
        drop: chance of each similar caption to be left out, so that prompts reach past the very nearest.
        plain: share of prompts without any.
        project: share of vectors projected on the support, as at inference; the rest stay as they are.
        noise: largest ratio of Gaussian noise to vector.
        mishear: share of examples whose vector lies between the captions and some other one. A CLAP mistakes
            sounds for others: its audio embedding is near captions that fit together but not the recording. Gaussian
            noise does nothing of the kind, since the projection takes it away again, and a decoder that has only
            seen vectors of the very caption believes whatever it hears.
        blind: share of examples without a vector (zeros), so that what the vector adds can be measured.
        temperatures: range of the projection's tau.
        restyle: share of examples written in another manner than their corpus's.
        targets: most captions written from one prompt. They are neighbours of each other, as the captions that
            several people give one recording are.
        support: captions of a corpus, drawn once, that vectors are projected on: projecting on 500,000 for every
            example would take longer than the LLM.
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
    """A recording that was never made: what would stand in its prompt, and what people would say of it.

    Attributes:
        vector: stands for the audio embedding [d].
        similar_captions: in the prompt, best first.
        captions: to be written from it; each sees the prompt, none sees another.
    """

    vector: FloatArray
    similar_captions: tuple[str, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        """About how long it is, in characters."""
        return sum(map(len, (*self.similar_captions, *self.captions)))


class ExampleSource:
    """Draws examples from corpora; all randomness comes from the generator handed to `draw`."""

    def __init__(
        self,
        corpora: Sequence[Corpus],
        vectors: Sequence[FloatArray],
        options: ExampleOptions,
        device: torch.device | None = None,
    ) -> None:
        """Args: corpora with, for each, the unit text vectors [n, d] of its captions; `device` finds candidates."""
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
        """One example of a corpus drawn by its weight."""
        corpus = int(rng.choice(len(self._corpora), p=self._share))
        row = int(rng.integers(len(self._corpora[corpus].captions)))
        return self.example(corpus, row, rng)

    def example(self, corpus: int, row: int, rng: np.random.Generator) -> Example:
        """The example of one caption and of neighbours of it."""
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
        """A vector on the way from what was said to another caption, more or less like it."""
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
        """The candidates, or of all captions those, nearest to what was heard, as retrieval would give them."""
        if candidates is None:
            near, candidates = vectors, np.arange(len(vectors), dtype=np.int32)
        else:
            near = vectors[candidates]
        scores = near @ heard
        # What is a near copy of any caption to be written gives it away.
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
        # Neither the captions to be written nor near copies: at inference the true one is not in the datastore.
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
    """The length of a vector; unlike numpy's, it depends on no order of summation."""
    return math.sqrt(math.fsum((vector * vector).tolist()))
