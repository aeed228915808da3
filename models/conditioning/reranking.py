"""Reranking: chooses the answer among the captions that a beam search ended with."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.conditioning.conditioning import Retrieved, weights
from models.decoder import Generated
from models.vectors import Float64Array, FloatArray

_Profile = list[dict[tuple[str, ...], float]]

_LONGEST = 4
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class Reranker:
    """Chooses the caption that the sound's neighbours agree with most.

    The agreement in words is the consensus of Devlin et al. (arXiv 1505.04467): the mean similarity of a caption to the
    retrieved ones, with the n-grams of CIDEr (arXiv 1411.5726), n up to 4, not weighted by their rarity. The agreement
    in meaning is the cosine of the caption's embedding to the weighted mean of theirs. A sound that many neighbours
    name is more likely right than one that a single neighbour names. The audio embedding itself judges worse: a CLAP
    errs more between sound and text than between texts.

    Attributes:
        neighbours: captions that vote.
        temperature: a vote weighs exp(cosine / temperature). It is not the projection's tau.
        meaning: weight of the agreement in meaning beside that in words.
    """

    neighbours: int = 120
    temperature: float = 0.1
    meaning: float = 0.5

    def choose(
        self, near: Sequence[Sequence[Retrieved]], written: Sequence[Generated], vectors: FloatArray
    ) -> list[Generated]:
        """Choose a caption for each prompt.

        Args:
            near: neighbours of each prompt, best first.
            written: the decoder's captions of each prompt.
            vectors: unit text embeddings of `candidates(written)`, in order.
        """
        at = 0
        chosen = []
        for found, one in zip(near, written, strict=True):
            texts = choices(one)
            if texts and found:
                own = vectors[at : at + len(texts)]
                one = replace(one, text=texts[int(np.argmax(self._agreement(texts, own, found[: self.neighbours])))])
            at += len(texts)
            chosen.append(one)
        return chosen

    def _agreement(self, texts: Sequence[str], vectors: FloatArray, voters: Sequence[Retrieved]) -> Float64Array:
        """Return the agreement of each text with the voters [texts]."""
        votes = weights([one.score for one in voters], self.temperature)
        mean = votes @ np.stack([one.vector for one in voters])
        meaning = vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
        profiles = [_profile(one.caption) for one in voters]
        own = [_profile(text) for text in texts]
        words = np.array([np.dot(votes, [_cosine(mine, its) for its in profiles]) for mine in own])
        agreement: Float64Array = words + self.meaning * meaning
        return agreement


def choices(written: Generated) -> list[str]:
    """Return the texts that one caption is chosen from; an empty list where there is no choice."""
    return [written.text, *written.alternatives] if written.alternatives else []


def candidates(written: Sequence[Generated]) -> list[str]:
    """Return all texts that captions are chosen from, in order."""
    return [text for one in written for text in choices(one)]


def _profile(text: str) -> _Profile:
    """Return unit vectors of n-gram counts, for n from 1 to 4."""
    words = _WORD.findall(text.casefold())
    grams = [
        Counter(tuple(words[at : at + length]) for at in range(len(words) - length + 1))
        for length in range(1, _LONGEST + 1)
    ]
    norms = [math.sqrt(sum(count * count for count in counts.values())) for counts in grams]
    return [{gram: count / norm for gram, count in counts.items()} for counts, norm in zip(grams, norms, strict=True)]


def _cosine(one: _Profile, other: _Profile) -> float:
    """Return the mean over n of the cosines."""
    pairs = zip(one, other, strict=True)
    return sum(sum(weight * its.get(gram, 0.0) for gram, weight in mine.items()) for mine, its in pairs) / _LONGEST
