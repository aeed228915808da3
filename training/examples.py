"""Training examples of the decoder: vectors in place of sounds, similar captions, and the captions to write."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from models.clap.sounds import Sounds
from models.prompt import Prompt
from training.corpora import EmbeddedCorpus
from training.mishearing import Misheard, Mishearing, MishearingOptions
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
        noise: largest ratio of Gaussian noise to the vector of a caption that is not misheard.
        mishear: share of examples that are misheard, see `training.mishearing`. A decoder that has seen only vectors
            of the true captions trusts its vector too much.
        mishearing: how much is misheard.
        named: share of prompts that name sounds, if the prompt's template can.
        blind: share of examples without a vector (zeros), so that the effect of the vector can be measured.
        temperatures: range of the projection's tau.
        restyle: share of examples written in another style than their corpus.
        targets: most captions to write from the same similar captions, each from a vector of its own. They are
            neighbours of each other, like the captions of one recording by several people.
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
    mishearing: MishearingOptions = field(default_factory=MishearingOptions)
    named: float = 0.5
    blind: float = 0.08
    temperatures: tuple[float, float] = (0.03, 0.08)
    restyle: float = 0.0
    targets: int = 6
    support: int = 20_000

    def __post_init__(self) -> None:
        for name in ("drop", "plain", "project", "mishear", "named", "blind", "restyle"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")
        if not 0 <= self.similar[0] <= self.similar[1] <= self.pool:
            raise ValueError(f"similar is 0 <= fewest <= most <= {self.pool}, got {self.similar}")
        if self.targets < 1 or self.support < 1 or self.noise < 0:
            raise ValueError("targets and support are at least 1, noise is not negative")


@dataclass(frozen=True)
class Example:
    """An example in place of a recording: captions to write, and the prompt of each.

    Attributes:
        prompts: with the same similar captions and vectors of their own.
        captions: to write; each sees its prompt and no other caption.
    """

    prompts: tuple[Prompt, ...]
    captions: tuple[str, ...]

    def __len__(self) -> int:
        """Return an estimate of its length in characters."""
        return sum(map(len, (*self.prompts[0].similar_captions, *self.captions)))


class ExampleSource:
    """Draws examples from corpora; the generator passed to `draw` makes every random choice."""

    def __init__(
        self,
        corpora: Sequence[EmbeddedCorpus],
        sounds: Sounds,
        options: ExampleOptions,
        device: torch.device | None = None,
    ) -> None:
        """Args:
        corpora: to draw from.
        sounds: kinds of sound, embedded by the same CLAP.
        options: how examples are drawn.
        device: computes the candidates; None for the CPU.
        """
        self._options = options
        self._corpora = [one.corpus for one in corpora]
        self._clauses = [one.clauses for one in corpora]
        self._mishearing = Mishearing(sounds, options.mishearing)
        vectors = [one.vectors for one in corpora]
        self._vectors = [on_grid(v) for v in vectors]
        self._pools = [candidate_pool(v, options.selection, options.pool, device) for v in vectors]
        mass = np.array([len(c.captions) * c.weight for c in self._corpora])
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
        pool = self._pools[corpus][row]
        pool = pool[pool >= 0]
        count = min(int(rng.integers(options.targets)), len(pool) // 4)
        rows = [row, *(int(i) for i in rng.choice(pool, count, replace=False))]
        misheard = rng.random() < options.mishear
        heard = self._heard(vectors[rows], misheard, rng)
        similar: list[int] = []
        if rng.random() >= options.plain:
            centre = _unit(heard.vectors.mean(axis=0))
            similar = self._similar(vectors, None if misheard else pool, rows, centre, rng)
        # The style is to be read off the similar captions.
        keep = 1.0 - options.restyle if similar else 1.0
        style = draw_style(random.Random(int(rng.integers(2**32))), keep)  # noqa: S311
        shown = tuple(style(captions[i]) for i in similar)
        named = rng.random() < options.named
        inputs = self._vectors_to_write(corpus, rows, heard.vectors, rng)
        prompts = []
        for place, target in enumerate(rows):
            order = self._clauses[corpus].get(target)
            sounds = self._mishearing.in_order(heard.weights[place], order) if named else ()
            prompts.append(Prompt(inputs[place].astype(np.float32), shown, sounds))
        return Example(tuple(prompts), tuple(style(captions[i]) for i in rows))

    def _heard(self, said: Float64Array, misheard: bool, rng: np.random.Generator) -> Misheard:
        if misheard:
            return self._mishearing.hear(said, rng)
        ratio, noise = rng.uniform(0.0, self._options.noise), rng.standard_normal(said.shape[1])
        noisy = np.stack([_unit(one + noise * (ratio / _norm(noise))) for one in said])
        return Misheard(noisy, self._mishearing.named(said, rng))

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

    def _vectors_to_write(
        self, corpus: int, rows: Sequence[int], heard: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        """Return the inputs of the projector [n, d] for the captions in these rows."""
        if rng.random() < self._options.blind:
            return np.zeros_like(heard)
        return self._projected(corpus, rows, heard, rng) if rng.random() < self._options.project else heard

    def _projected(
        self, corpus: int, rows: Sequence[int], heard: Float64Array, rng: np.random.Generator
    ) -> Float64Array:
        support, tau = self._supports[corpus], rng.uniform(*self._options.temperatures)
        # Without the captions to write and near copies: at inference the true caption is not in the datastore.
        high = self._options.selection.high
        kept = support[(support @ self._vectors[corpus][list(rows)].T).max(axis=1) < high]
        if not len(kept):
            return heard
        scores = heard @ kept.T
        weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / tau)
        return np.stack([_unit(one) for one in weights @ kept])


def _unit(vector: Float64Array) -> Float64Array:
    return on_grid(vector / max(_norm(vector), 1e-12))


def _norm(vector: Float64Array) -> float:
    """Return the length of a vector; unlike numpy's, it does not depend on the order of summation."""
    return math.sqrt(math.fsum((vector * vector).tolist()))
