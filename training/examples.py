"""Training examples of the decoder: a vector that stands for the sound, similar captions, the caption to write."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.prompt import Prompt
from training.corpora import Corpus
from training.similarity import SelectionRange, candidate_pool
from training.styles import draw_style

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class ExampleOptions:
    """How examples are drawn.

    Attributes:
        selection: similarity range of the captions in the prompt.
        pool: candidates kept a caption.
        similar: captions in a prompt.
        drop_similar: share of prompts without any.
        project: share of vectors projected on the support, as at inference; the rest stay near the text vector.
        noise: largest ratio of noise to vector. An audio embedding sits far from its caption's, about as far as
            a text vector with noise of its own length.
        temperatures: range of the projection's tau.
        keep_style: share of examples in their corpus's own manner.
    """

    selection: SelectionRange = field(default_factory=lambda: SelectionRange(0.3, 0.8))
    pool: int = 48
    similar: int = 3
    drop_similar: float = 0.15
    project: float = 0.6
    noise: float = 1.2
    temperatures: tuple[float, float] = (0.03, 0.08)
    keep_style: float = 0.6


class ExampleSource:
    """Draws examples from corpora; all randomness comes from the generator handed to `draw`."""

    def __init__(self, corpora: Sequence[Corpus], vectors: Sequence[FloatArray], options: ExampleOptions) -> None:
        """Args: corpora with, for each, the unit text vectors [n, d] of its captions."""
        self._options = options
        self._corpora = corpora
        self._vectors = vectors
        self._pools = [candidate_pool(v, options.selection, options.pool) for v in vectors]
        mass = np.array([len(c.captions) * c.weight for c in corpora])
        self._share = mass / mass.sum()

    def draw(self, rng: np.random.Generator) -> tuple[Prompt, str]:
        """One prompt and the caption to write for it."""
        corpus = int(rng.choice(len(self._corpora), p=self._share))
        row = int(rng.integers(len(self._corpora[corpus].captions)))
        return self.example(corpus, row, rng)

    def example(self, corpus: int, row: int, rng: np.random.Generator) -> tuple[Prompt, str]:
        """The example of one caption."""
        options = self._options
        vector = self._heard(self._vectors[corpus][row], rng)
        style = draw_style(random.Random(int(rng.integers(2**32))), options.keep_style)  # noqa: S311
        captions = self._corpora[corpus].captions
        similar = () if rng.random() < options.drop_similar else self._similar(corpus, row, vector)
        if rng.random() < options.project:
            vector = self._projected(corpus, row, vector, rng)
        return Prompt(vector, tuple(style(captions[i]) for i in similar)), style(captions[row])

    def _heard(self, vector: FloatArray, rng: np.random.Generator) -> FloatArray:
        noise = rng.standard_normal(len(vector)).astype(np.float32)
        ratio = rng.uniform(0.0, self._options.noise)
        return _unit(vector + noise * (ratio / np.linalg.norm(noise)))

    def _similar(self, corpus: int, row: int, vector: FloatArray) -> list[int]:
        """The candidates nearest to what was heard, as retrieval by the audio vector would give them."""
        pool = self._pools[corpus][row]
        pool = pool[pool >= 0]
        scores = self._vectors[corpus][pool] @ vector
        return [int(i) for i in pool[np.argsort(-scores)[: self._options.similar]]]

    def _projected(self, corpus: int, row: int, vector: FloatArray, rng: np.random.Generator) -> FloatArray:
        support = self._vectors[corpus]
        scores = support @ vector
        # Neither the caption itself nor its near copies: at inference the true caption is not in the datastore.
        scores[support @ support[row] >= self._options.selection.high] = -np.inf
        tau = rng.uniform(*self._options.temperatures)
        weights = np.exp((scores - scores.max()) / tau)
        return _unit(weights @ support)


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)
