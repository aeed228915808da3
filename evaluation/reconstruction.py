"""Text reconstruction: captions drawn from a corpus take the place of recordings."""

from dataclasses import dataclass, replace

import numpy as np
from rich.progress import Progress

from datastores.base import DomainStore
from evaluation.arms import NEAREST, nearest_arm, shipped_arm
from evaluation.domains import Domain, put_domain
from evaluation.pipeline import EvaluatedSounds, Trial, evaluate
from evaluation.report import Report
from models.bundle.loaded import LoadedBundle
from models.clap.base import Clap
from models.vectors import FloatArray

NEAR_COPY = 0.95
"""Cosine from which a caption of the rest gives a drawn one away."""

RECONSTRUCTED = "full method"
_REST = "rest"
_ROWS_AT_ONCE = 4096


class CorpusTooSmall(ValueError):
    """The domain has too few captions; the message says how many it has."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Drawn captions in place of sounds, and the rest of their domain.

    Attributes:
        sounds: the drawn captions; each is its own reference.
        rest: a domain of the captions that are no near copies of a drawn one.
        copies: number of near copies that the rest lacks, without the drawn captions.
    """

    sounds: EvaluatedSounds
    rest: Domain
    copies: int


async def hold_out(
    whole: Domain, store: DomainStore, clap: Clap, count: int, *, seed: int = 0, noise: float = 0.0
) -> HeldOut:
    """Draw captions of a domain and register the rest as a domain of its own.

    Args:
        whole: the domain to draw from.
        store: receives the rest.
        clap: embedded the domain.
        count: captions to draw.
        seed: of the draw and of the noise.
        noise: ratio of Gaussian noise to the drawn captions' vectors, see `blurred`.

    Raises:
        CorpusTooSmall: the domain has fewer captions than `count`, or only drawn ones and their near copies.
    """
    captions, vectors = await _everything(whole)
    if count > len(captions):
        raise CorpusTooSmall(f"{whole.title} has {len(captions)} captions, of which {count} cannot be drawn")
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(len(captions), count, replace=False))
    kept = np.flatnonzero(_closest(vectors, vectors[drawn]) < NEAR_COPY)
    # Rounding must not leave a drawn caption among the rest.
    kept = kept[~np.isin(kept, drawn)]
    if not len(kept):
        raise CorpusTooSmall(f"{whole.title}: nothing is left beside {count} drawn captions and their near copies")
    rest = await put_domain(store, _REST, [captions[row] for row in kept], vectors[kept], clap)
    sounds = EvaluatedSounds(
        tuple(f"caption {number}" for number in range(1, count + 1)),
        tuple((captions[row],) for row in drawn),
        blurred(vectors[drawn], noise, rng),
        heard=False,
    )
    rest = replace(rest, title=f"{whole.title} without the drawn captions and their near copies")
    return HeldOut(sounds, rest, len(captions) - count - len(kept))


async def reconstruct(
    held: HeldOut, bundle: LoadedBundle, beams: int | None, progress: Progress, seed: int = 0
) -> Report:
    """Measure how well captions are restored from their text vectors, with and without similar captions.

    All rows except the nearest caption decode and rerank as shipped; `beams`: see `evaluation.arms.shipped_arm`.
    Raises as `evaluation.pipeline.evaluate`.
    """
    shipped = shipped_arm(bundle, beams)
    rows = [
        Trial(NEAREST, nearest_arm(bundle), held.rest),
        Trial("vector only", replace(shipped, similar=0), held.rest, "no similar captions in the prompt"),
        Trial(RECONSTRUCTED, shipped, held.rest, shipped.note),
    ]
    facts = {"near copies omitted": held.copies, "similarity of a near copy": NEAR_COPY, "seed": seed}
    return await evaluate("Text reconstruction", rows, NEAREST, held.sounds, bundle, progress, facts)


def blurred(vectors: FloatArray, ratio: float, rng: np.random.Generator) -> FloatArray:
    """Return unit vectors [n, d] with Gaussian noise of expected squared norm ratio^2, renormalised.

    The cosine to the original vector is about 1 / sqrt(1 + ratio^2): 0.78 for 0.8. Ratio 0 changes nothing.
    """
    if ratio == 0:
        return vectors
    noisy = vectors + rng.normal(size=vectors.shape) * (ratio / np.sqrt(vectors.shape[1]))
    return np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), dtype=np.float32)


async def _everything(domain: Domain) -> tuple[list[str], FloatArray]:
    """Return all captions of a domain in alphabetical order, with their vectors [n, d]."""
    anywhere = np.eye(1, domain.version.dimension, dtype=np.float32)
    found = sorted((await domain.near(anywhere, None))[0], key=lambda one: one.caption)
    return [one.caption for one in found], np.stack([one.vector for one in found])


def _closest(vectors: FloatArray, others: FloatArray) -> FloatArray:
    """Return the cosine of each vector [n, d] to the closest of the others: [n]."""
    starts = range(0, len(vectors), _ROWS_AT_ONCE)
    return np.concatenate([(vectors[at : at + _ROWS_AT_ONCE] @ others.T).max(axis=1) for at in starts])
