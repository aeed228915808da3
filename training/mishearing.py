"""Mishearing: the audio embedding that a CLAP might have for a caption's sound, and the sounds it would name.

A CLAP errs in kinds of sound. It takes a sound for a similar one, misses one, or hears one that is not there. Gaussian
noise does not imitate this, because the projection removes it. So the caption's vector is first translated into kinds
of sound (the names in `models.clap.sounds`, embedded by the CLAP's text tower), mistakes are made there, and the names'
vectors take the place of what the CLAP would hear:

    w = softmax(t C^T / T), the 20 strongest       kinds that the caption t names
    w = (1 - x) w + x w softmax(C C^T / 0.1)       some are taken for similar ones
    w = w dropped, + y softmax(3 g)                some are missed, some are heard and not there
    a = normalise(normalise(w C) + s t + z g)      g is Gaussian

T, x, y, s and z are drawn for each example.
"""

from dataclasses import dataclass

import numpy as np

from models.clap.sounds import Sounds
from models.prompt import SoundGroups
from models.vectors import Float64Array, FloatArray
from training.similarity import on_grid

_STRONGEST = 20
_CONFUSION_TEMPERATURE = 0.1
_SHARPEST, _BLUNTEST = 0.03, 0.08
# A kind stands in the prompt from this share of a recording.
_NAMED = 0.15
_MOST_NAMED = 4


@dataclass(frozen=True)
class MishearingOptions:
    """How much is misheard. docs/method.md compares the result with recordings.

    Attributes:
        confused: largest share of the kinds that are taken for similar ones.
        missed: share of the kinds that are not heard.
        wrong: largest weight of kinds that are not there; the others sum to 1.
        said: largest weight of the caption's own vector, which says more than the kinds.
        noise: largest length of the Gaussian noise, where the kinds have length 1.
    """

    confused: float = 0.5
    missed: float = 0.2
    wrong: float = 0.5
    said: float = 0.7
    noise: float = 0.3

    def __post_init__(self) -> None:
        for name in ("confused", "missed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")
        for name in ("wrong", "said", "noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is not negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class Misheard:
    """What might be heard of n captions that describe one recording.

    Attributes:
        vectors: in place of the audio embedding, unit float64 [n, d].
        weights: of the kinds of sound [n, names].
    """

    vectors: Float64Array
    weights: Float64Array


class Mishearing:
    """Makes vectors of sounds that are not quite heard. The generator passed makes every random choice."""

    def __init__(self, sounds: Sounds, options: MishearingOptions) -> None:
        self.names = sounds.names
        self._vectors = on_grid(sounds.vectors)
        self._alike = _shares(self._vectors @ self._vectors.T / _CONFUSION_TEMPERATURE)
        self._options = options

    def hear(self, said: Float64Array, rng: np.random.Generator) -> Misheard:
        """Mishear captions of one recording: unit vectors [n, d]. All of them suffer the same mistakes."""
        options = self._options
        weights = self.named(said, rng)
        taken = options.confused * rng.uniform()
        weights = (1.0 - taken) * weights + taken * _strongest(weights @ self._alike)
        weights = weights * (rng.random(len(self.names)) >= options.missed)
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
        absent = _shares(3.0 * rng.standard_normal((1, len(self.names))))
        weights = weights + options.wrong * rng.uniform() * absent
        direction = rng.standard_normal(said.shape[1])
        own, noise = options.said * rng.uniform(), options.noise * rng.uniform()
        heard = _unit(weights @ self._vectors) + own * said + noise * _unit(direction[None])
        return Misheard(on_grid(_unit(heard)), weights)

    def named(self, said: Float64Array, rng: np.random.Generator) -> Float64Array:
        """Return the weights of the kinds that captions name: unit vectors [n, d] -> [n, names], each row sums to 1."""
        temperature = float(np.exp(rng.uniform(np.log(_SHARPEST), np.log(_BLUNTEST))))
        return _strongest(_shares(said @ self._vectors.T / temperature))

    def in_order(self, weights: Float64Array, clauses: FloatArray | None) -> SoundGroups:
        """Return the names that stand in a prompt, in groups that follow each other.

        Args:
            weights: of one caption [names].
            clauses: vectors of the caption's clauses in the order of time [c, d], if it states an order.
        """
        order = np.argsort(-weights, kind="stable")[:_MOST_NAMED]
        loud = [int(kind) for kind in order if weights[kind] >= _NAMED]
        if clauses is None or not loud:
            return (tuple(self.names[kind] for kind in loud),) if loud else ()
        place = (clauses @ self._vectors[loud].T).argmax(axis=0)
        groups = (
            tuple(self.names[kind] for kind, at in zip(loud, place, strict=True) if at == n)
            for n in range(len(clauses))
        )
        return tuple(group for group in groups if group)


def _strongest(weights: Float64Array) -> Float64Array:
    """Keep the `_STRONGEST` largest of each row [n, m], and scale each row to a sum of 1."""
    kept = np.argsort(-weights, axis=1, kind="stable")[:, :_STRONGEST]
    strongest = np.zeros_like(weights)
    np.put_along_axis(strongest, kept, np.take_along_axis(weights, kept, axis=1), axis=1)
    total: Float64Array = strongest / strongest.sum(axis=1, keepdims=True)
    return total


def _shares(logits: Float64Array) -> Float64Array:
    """Return the softmax of each row [n, m]."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    total: Float64Array = weights / weights.sum(axis=1, keepdims=True)
    return total


def _unit(vectors: Float64Array) -> Float64Array:
    total: Float64Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return total
