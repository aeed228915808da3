"""Reranking: chooses the answer among the captions that a beam search ended with."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.conditioning.conditioning import Retrieved
from models.decoder import Generated
from models.vectors import FloatArray

_Profile = list[dict[tuple[str, ...], float]]

_LONGEST = 4
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class Reranker:
    """Chooses the caption that the sound's neighbours agree with most and that the CLAP hears.

    The agreement is the consensus of Devlin et al. (arXiv 1505.04467): the mean similarity of a caption to the
    retrieved ones, with the n-grams of CIDEr (arXiv 1411.5726), n up to 4, not weighted by their rarity. A sound that
    many neighbours name is more likely right than one that a single neighbour names. The CLAP's part is that of
    CLAP-Refine.

    Attributes:
        neighbours: captions that vote.
        temperature: a vote weighs exp(cosine / temperature). It is not the projection's tau.
        similarity: weight of the cosine between caption and sound beside the agreement.
    """

    neighbours: int = 32
    temperature: float = 0.05
    similarity: float = 1.5

    def choose(
        self,
        queries: FloatArray,
        near: Sequence[Sequence[Retrieved]],
        written: Sequence[Generated],
        vectors: FloatArray,
    ) -> list[Generated]:
        """Choose a caption for each prompt.

        Args:
            queries: unit audio embedding of each prompt [n, d].
            near: neighbours of each prompt, best first.
            written: the decoder's captions of each prompt.
            vectors: unit text embeddings of `candidates(written)`, in order.
        """
        at = 0
        chosen = []
        for query, found, one in zip(queries, near, written, strict=True):
            texts = choices(one)
            if texts:
                heard = vectors[at : at + len(texts)] @ query
                at += len(texts)
                one = replace(one, text=texts[int(np.argmax(self._agreement(texts, found) + self.similarity * heard))])
            chosen.append(one)
        return chosen

    def _agreement(self, texts: Sequence[str], near: Sequence[Retrieved]) -> FloatArray:
        """Mean similarity of each text to the neighbours [texts], weighted; between 0 and 1."""
        voters = near[: self.neighbours]
        if not voters:
            return np.zeros(len(texts), np.float32)
        scores = np.array([one.score for one in voters], np.float32)
        weights = np.exp((scores - scores.max()) / self.temperature)
        weights /= weights.sum()
        profiles = [_profile(one.caption) for one in voters]
        agreement = np.zeros(len(texts), np.float32)
        for row, text in enumerate(texts):
            mine = _profile(text)
            votes = [
                # A caption copied from a neighbour would get that neighbour's full vote.
                0.0 if text == one.caption else _cosine(mine, its)
                for one, its in zip(voters, profiles, strict=True)
            ]
            agreement[row] = np.dot(weights, votes)
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
