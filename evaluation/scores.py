"""Caption metrics of pycocoevalcap on tokenised captions.

Tokenised captions are lower-case words joined by spaces, without punctuation (`evaluation.tokens`).
"""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from evaluation.intervals import Figure, Values, bootstrap, interval, resampled_means
from evaluation.java import ask_java


class MetricsMissing(ImportError):
    """pycocoevalcap is not installed."""


def require_metrics() -> None:
    """Raises `MetricsMissing`, which says what to install, if pycocoevalcap is missing."""
    if find_spec("pycocoevalcap") is None:
        raise MetricsMissing("the caption metrics need pycocoevalcap: pip install drcap[eval]")


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> Values:
    """Return CIDEr-D of each clip (Vedantam et al. 2015), 0 to 10: [clips].

    Document frequencies come from these references, so values on different sets of clips are not comparable. Values on
    a few clips say little: a single clip always gets 0.
    """
    from pycocoevalcap.cider.cider import Cider

    return np.asarray(Cider().compute_score(*_by_clip(references, said))[1], dtype=np.float64)


def rouge_l(said: Sequence[str], references: Sequence[Sequence[str]]) -> Values:
    """Return ROUGE-L of each clip (Lin 2004), 0 to 1: [clips]."""
    from pycocoevalcap.rouge.rouge import Rouge

    return np.asarray(Rouge().compute_score(*_by_clip(references, said))[1], dtype=np.float64)


def bleu(said: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Values, list[Figure]]:
    """Return BLEU-1 to BLEU-4 (Papineni et al. 2002), 0 to 1.

    Returns:
        The values of each single caption [clips, 4], and the four values of all captions as one corpus. The
        intervals of the latter resample the counts that corpus BLEU sums over clips.
    """
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=4)
    for caption, texts in zip(said, references, strict=True):
        scorer += (caption, list(texts))
    corpus, sentences = scorer.compute_score(option="closest", verbose=0)
    counts = np.array(
        [
            [*counted["correct"], *counted["guess"], length, min((abs(n - length), n) for n in counted["reflen"])[1]]
            for counted in scorer.ctest
            for length in [counted["testlen"]]
        ],
        dtype=np.float64,
    )
    drawn = corpus_bleu(resampled_means(counts) * len(counts))
    figures = [interval(value, drawn[:, order]) for order, value in enumerate(corpus)]
    return np.array(sentences, dtype=np.float64).T, figures


def corpus_bleu(counts: Values) -> Values:
    """Return BLEU-1 to BLEU-4 [..., 4] from counts summed over clips [..., 10] (Papineni et al. 2002).

    The counts are the caption's n-grams that a reference has (4), all n-grams of the caption (4), its words, and the
    words of the reference closest in length. The guards against division by zero are those of pycocoevalcap.
    """
    found, guessed, length, closest = counts[..., :4], counts[..., 4:8], counts[..., 8], counts[..., 9]
    logs = np.log((found + 1e-15) / (guessed + 1e-9))
    precision = np.exp(np.cumsum(logs, axis=-1) / np.arange(1, 5))
    ratio = (length + 1e-15) / (closest + 1e-9)
    brevity = np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))
    return np.asarray(precision * brevity[..., None], dtype=np.float64)


def java_metric(name: str, said: Sequence[str], references: Sequence[Sequence[str]], seconds: float) -> Values:
    """Return `meteor` (Denkowski and Lavie 2014) or `spice` (Anderson et al. 2016) of each clip: [clips].

    Raises:
        JavaFailed: the Java program fails or does not answer within `seconds`.
    """
    truth, captions = _by_clip(references, said)
    return np.asarray(ask_java(name, {"truth": truth, "said": captions}, seconds), dtype=np.float64)


def distinct(said: Sequence[str], order: int) -> Figure:
    """Return the share of distinct n-grams in all captions together (Li et al. 2016), n = `order`.

    A clip drawn twice adds no new n-gram, so a plain bootstrap would lie below the value. Each resampled clip has its
    jackknife influence instead (Efron and Stein 1981): the change of the value without that clip.
    """
    clips = len(said)
    words = [text.split() for text in said]
    grams = [[tuple(row[i : i + order]) for i in range(len(row) - order + 1)] for row in words]
    holders: dict[tuple[str, ...], int] = {}
    for row in grams:
        for gram in set(row):
            holders[gram] = holders.get(gram, 0) + 1
    sizes = np.array([len(row) for row in grams], dtype=np.float64)
    own = np.array([sum(holders[gram] == 1 for gram in set(row)) for row in grams], dtype=np.float64)
    value = len(holders) / max(sizes.sum(), 1.0)
    without = (len(holders) - own) / np.maximum(sizes.sum() - sizes, 1.0)
    figure = bootstrap(value + (clips - 1) * (without.mean() - without))
    return Figure(value, max(0.0, figure.low), min(1.0, figure.high))


def _by_clip(references: Sequence[Sequence[str]], said: Sequence[str]) -> tuple[dict[str, list[str]], ...]:
    # SPICE sorts the keys as text: leading zeros keep the clips in order.
    keys = [f"{clip:08d}" for clip in range(len(said))]
    truth = {key: list(texts) for key, texts in zip(keys, references, strict=True)}
    return truth, {key: [text] for key, text in zip(keys, said, strict=True)}
