"""Measures the captions of one system on clips with references: values for each clip, and means with intervals."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation import scores
from evaluation.intervals import Figure, bootstrap, interval, resampled_means
from evaluation.java import JavaFailed, java_found, spice_missing
from evaluation.tokens import Tokenizer

logger = logging.getLogger(__name__)

EmbedText = Callable[[Sequence[str]], NDArray[np.float32]]
"""n texts -> unit vectors [n, d]."""

_TEXTS_AT_ONCE = 256
_CLOSING = " .!?,;:"


@dataclass(frozen=True)
class Said:
    """The caption of one clip by one system.

    Attributes:
        caption: may be empty.
        retrieved: the captions in the prompt, or those that would be in it, best first.
    """

    caption: str
    retrieved: tuple[str, ...]


@dataclass(frozen=True)
class Measures:
    """The measures of one system on one list of clips. Higher is better, except for `words` and `verbatim`.

    Attributes:
        per_clip: name -> value of each clip [clips]. BLEU here is that of the single caption.
        overall: name -> mean over clips with its 95% bootstrap interval over clips. BLEU and distinct-n are
            computed on all captions together and are not means.
        left_out: name of a metric that could not run -> reason.
        tokenizer: that cut captions into words, ``ptb`` or ``words``; "" if unknown.
    """

    per_clip: dict[str, NDArray[np.float64]]
    overall: dict[str, Figure]
    left_out: dict[str, str] = field(default_factory=dict)
    tokenizer: str = ""


class References:
    """The references of a list of clips, tokenised and embedded once for all systems.

    Attributes:
        tokenizer: cuts these references, and the captions compared with them.
        tokens: the tokenised references of each clip, without references that have no word.
        java_seconds: limit of one run of Java.
    """

    def __init__(
        self, texts: Sequence[Sequence[str]], *, java: bool | None = None, java_seconds: float = 300.0
    ) -> None:
        """Tokenise the references of each clip.

        Args:
            texts: at least one reference for each clip.
            java: True requires the tokenizer in Java, False excludes it, None uses it if Java is found.
            java_seconds: limit of one run of Java.

        Raises:
            ValueError: there is no clip, or no reference of a clip has a word.
            JavaFailed: the tokenizer in Java took too long, or failed where `java` requires it.
        """
        if not texts:
            raise ValueError("there are no clips to measure on")
        self._texts = [tuple(of_clip) for of_clip in texts]
        self._java = java
        self._vectors: tuple[EmbedText, NDArray[np.float64]] | None = None
        self.java_seconds = java_seconds
        self.tokenizer = Tokenizer.pick(java, java_seconds)
        tokens = iter(self.tokenizer([text for of_clip in self._texts for text in of_clip]))
        self.tokens = [[words for _ in of_clip if (words := next(tokens))] for of_clip in self._texts]
        wordless = [clip for clip, of_clip in enumerate(self.tokens) if not of_clip]
        if wordless:
            raise ValueError(f"no reference of clip {wordless[0]} has a word: {self._texts[wordless[0]]!r}")

    def __len__(self) -> int:
        return len(self._texts)

    def wants_java(self, java: bool | None) -> bool:
        """Return whether to run metrics in Java: `java`, else the references' choice, else whether Java is found."""
        wanted = self._java if java is None else java
        return java_found() if wanted is None else wanted

    def mean_vectors(self, embed_text: EmbedText) -> NDArray[np.float64]:
        """Return the mean text vector of each clip's references [clips, d]; only another function embeds them again."""
        # Compared by equality: each access to a bound method makes a new object.
        if self._vectors is None or self._vectors[0] != embed_text:
            vectors = _embed([text for of_clip in self._texts for text in of_clip], embed_text)
            starts = np.cumsum([0, *(len(of_clip) for of_clip in self._texts[:-1])])
            sums = np.add.reduceat(vectors, starts, axis=0)
            self._vectors = (embed_text, sums / np.array([[len(of_clip)] for of_clip in self._texts]))
        return self._vectors[1]


def measure(
    said: Sequence[Said],
    references: Sequence[Sequence[str]] | References,
    heard: NDArray[np.float32] | None,
    embed_text: EmbedText,
    *,
    java: bool | None = None,
) -> Measures:
    """Compute every metric for the captions of one system.

    `cider`, `bleu1` to `bleu4`, `rouge_l`, `meteor` and `spice` are those of pycocoevalcap. The last two need Java and
    are omitted, with the reason, where they cannot run. `sentence_similarity` is the mean cosine of the caption's text
    vector to those of its references, `clap_score` its cosine to the audio vector. `words` counts words. `verbatim` is
    1 for a caption that equals a retrieved one except for case, spaces and closing punctuation. `distinct1` and
    `distinct2` are the share of distinct n-grams among all n-grams.

    Args:
        said: one entry for each clip.
        references: at least one for each clip. `References` are tokenised and embedded once for several systems.
            CIDEr takes its document frequencies from these references.
        heard: unit audio vectors of the clips [clips, d], or None to omit `clap_score`.
        embed_text: text tower of the same space.
        java: whether to run METEOR and SPICE; None means as for `references`, by default if Java is found.

    Raises:
        MetricsMissing: pycocoevalcap is not installed.
        ValueError: lengths differ, or no reference of a clip has a word.
        JavaFailed: the tokenizer in Java failed or took too long.
    """
    scores.require_metrics()
    truth = references if isinstance(references, References) else References(references, java=java)
    if len(said) != len(truth) or (heard is not None and len(heard) != len(truth)):
        heard_clips = "" if heard is None else f", {len(heard)} audio vectors"
        raise ValueError(f"{len(said)} captions{heard_clips} for the references of {len(truth)} clips")
    captions = [one.caption for one in said]
    tokens = truth.tokenizer(captions)
    sentence_bleu, corpus_bleu = scores.bleu(tokens, truth.tokens)
    per_clip = {"cider": scores.cider(tokens, truth.tokens)}
    per_clip |= {f"bleu{order}": sentence_bleu[:, order - 1] for order in range(1, 5)}
    per_clip["rouge_l"] = scores.rouge_l(tokens, truth.tokens)
    in_java, left_out = _in_java(tokens, truth, java)
    per_clip |= in_java
    vectors = _embed(captions, embed_text)
    per_clip["sentence_similarity"] = (vectors * truth.mean_vectors(embed_text)).sum(axis=1)
    if heard is not None:
        per_clip["clap_score"] = (vectors * heard).sum(axis=1)
    per_clip["words"] = np.array([len(text.split()) for text in captions], dtype=np.float64)
    per_clip["verbatim"] = np.array([float(_is_verbatim(one)) for one in said])
    drawn = resampled_means(np.stack(list(per_clip.values()), axis=1))
    overall = {
        name: interval(float(values.mean()), drawn[:, column]) for column, (name, values) in enumerate(per_clip.items())
    }
    overall |= {f"bleu{order}": figure for order, figure in enumerate(corpus_bleu, start=1)}
    overall |= {f"distinct{order}": scores.distinct(tokens, order) for order in (1, 2)}
    return Measures(per_clip, overall, left_out, truth.tokenizer.name)


def compare(one: Measures, other: Measures, name: str) -> Figure:
    """Return the mean difference one - other of a metric with its 95% interval, with the same clips drawn for both.

    BLEU is compared by the values of single captions.

    Raises:
        ValueError: a side lacks values of that metric for each clip, or the numbers of clips differ.
    """
    for side in (one, other):
        if name not in side.per_clip:
            raise ValueError(f"{name!r} has no value a clip on both sides; there are {', '.join(side.per_clip)}")
    if len(one.per_clip[name]) != len(other.per_clip[name]):
        raise ValueError(f"{len(one.per_clip[name])} clips cannot be paired with {len(other.per_clip[name])}")
    return bootstrap(one.per_clip[name] - other.per_clip[name])


def _in_java(
    tokens: list[str], truth: References, java: bool | None
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    if not truth.wants_java(java):
        reason = "not asked for" if java_found() else "there is no Java"
        return {}, {"meteor": reason, "spice": reason}
    values: dict[str, NDArray[np.float64]] = {}
    missing = spice_missing()
    left_out = {} if missing is None else {"spice": missing}
    for name in ("meteor", "spice"):
        if name in left_out:
            continue
        try:
            values[name] = scores.java_metric(name, tokens, truth.tokens, truth.java_seconds)
        except JavaFailed as error:
            logger.warning("%s is omitted: %s", name, error)
            left_out[name] = str(error)
    return values, left_out


def _embed(texts: Sequence[str], embed_text: EmbedText) -> NDArray[np.float64]:
    pieces = [embed_text(texts[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(texts), _TEXTS_AT_ONCE)]
    return np.concatenate(pieces).astype(np.float64)


def _is_verbatim(said: Said) -> bool:
    return _plain(said.caption) in {_plain(text) for text in said.retrieved}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(_CLOSING)
