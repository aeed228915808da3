"""Guidance: the words of a domain, as the captions near a sound use them, help the LLM to write.

The neighbours of a sound make a small language model. It knows which token followed the last n tokens in them, n up to
3, and each neighbour counts by its weight. A longer context counts more where it was seen, as in a Dirichlet prior
(MacKay and Peto 1995):

    p_n(token) = (c_n(token) + b p_{n-1}(token)) / (c_n + b)

The decoder mixes it with the LLM, as kNN-LM does (Khandelwal et al., arXiv 1911.00172). So a caption uses words and
turns that many neighbours share, in the domain's own spelling, and the LLM joins them.
"""

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

_LONGEST = 3
# The weight b, where the neighbours weigh 1 together.
_BACKOFF = 1 / 16
_START = -1

_Counts = dict[int, float]


class Guidance:
    """The language model of one sound's neighbours."""

    def __init__(self, captions: Sequence[Sequence[int]], weights: Sequence[float]) -> None:
        """Args:
        captions: tokens of each neighbour, with the end token.
        weights: of the neighbours; they sum to 1.
        """
        self._captions = captions
        self._weights = weights
        self._known: dict[tuple[int, ...], tuple[Tensor, Tensor] | None] = {}

    @cached_property
    def _counts(self) -> dict[tuple[int, ...], _Counts]:
        """Context of up to `_LONGEST` tokens -> token that followed -> weight."""
        counts: dict[tuple[int, ...], _Counts] = {}
        for tokens, weight in zip(self._captions, self._weights, strict=True):
            line = (_START, *tokens)
            for at in range(1, len(line)):
                for length in range(min(_LONGEST, at) + 1):
                    followed = counts.setdefault(line[at - length : at], {})
                    followed[line[at]] = followed.get(line[at], 0.0) + weight
        return counts

    def after(self, tokens: Sequence[int]) -> tuple[Tensor, Tensor] | None:
        """Return the tokens that may follow a text and their probabilities; None if there are no neighbours."""
        context = (_START, *tokens)[-_LONGEST:]
        if context not in self._known:
            chances: _Counts = {}
            for length in range(len(context) + 1):
                counted = self._counts.get(context[len(context) - length :])
                if counted is None:
                    break
                backoff = _BACKOFF if length else 0.0
                total = sum(counted.values()) + backoff
                chances = {token: backoff * chance / total for token, chance in chances.items()}
                for token, weight in counted.items():
                    chances[token] = chances.get(token, 0.0) + weight / total
            found = torch.tensor(list(chances), dtype=torch.long), torch.tensor(list(chances.values()))
            self._known[context] = found if chances else None
        return self._known[context]


def guided(scores: Tensor, texts: Sequence[Sequence[int]], guides: Sequence[Guidance], share: float) -> Tensor:
    """Mix the LLM's scores with those of the guides.

    Args:
        scores: log-probabilities of the next token [rows, vocabulary].
        texts: tokens of each row so far.
        guides: of each row.
        share: weight of the guides, 0 to 1; the LLM has the rest.

    Returns:
        log-probabilities [rows, vocabulary]; a row without neighbours is unchanged.
    """
    mixed = scores.clone()
    for row, (text, guide) in enumerate(zip(texts, guides, strict=True)):
        found = guide.after(text)
        if found is not None:
            tokens, chances = found
            own = scores[row, tokens]
            # A token that may never be written stays so.
            theirs = torch.where(own > -torch.inf, share * chances, 0.0)
            mixed[row] += math.log1p(-share)
            mixed[row, tokens] = torch.log((1.0 - share) * own.exp() + theirs)
    return mixed
