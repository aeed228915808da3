"""Caption metrics: CIDEr, BLEU and ROUGE-L from pycocoevalcap, with bootstrap intervals over clips."""

import re
import shutil
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.alignment_measures import Figure

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")

Captions = dict[str, list[str]]


def bootstrap(values: NDArray[np.float64], seed: int = 0, draws: int = 10_000) -> Figure:
    """Mean of a value a clip [n], clips drawn with replacement."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(float(values.mean()), float(low), float(high))


def cider(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """CIDEr of each clip (Vedantam et al. 2015), document frequencies from these references."""
    from pycocoevalcap.cider.cider import Cider

    truth, said = _tokenised(predictions, references)
    return np.asarray(Cider().compute_score(truth, said)[1], dtype=np.float64)


def rouge_l(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """ROUGE-L of each clip (Lin 2004)."""
    from pycocoevalcap.rouge.rouge import Rouge

    truth, said = _tokenised(predictions, references)
    return np.asarray(Rouge().compute_score(truth, said)[1], dtype=np.float64)


def bleu4(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU-4 (Papineni et al. 2002)."""
    from pycocoevalcap.bleu.bleu import Bleu

    truth, said = _tokenised(predictions, references)
    return float(Bleu(4).compute_score(truth, said, verbose=0)[0][3])


def tokenizer_name() -> str:
    """Which tokenizer the metrics use here: the Penn Treebank one needs Java."""
    return "ptb" if shutil.which("java") else "words"


def _tokenised(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Captions, Captions]:
    truth: dict[str, list[str]] = {str(i): list(texts) for i, texts in enumerate(references)}
    said: dict[str, list[str]] = {str(i): [text] for i, text in enumerate(predictions)}
    if tokenizer_name() == "words":
        return _words(truth), _words(said)
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    return _ptb(tokenizer, truth), _ptb(tokenizer, said)


def _ptb(tokenizer: object, captions: Captions) -> Captions:
    wrapped = {key: [{"caption": text} for text in texts] for key, texts in captions.items()}
    result: Captions = tokenizer.tokenize(wrapped)  # type: ignore[attr-defined]
    return result


def _words(captions: Captions) -> Captions:
    return {key: [" ".join(_WORD.findall(text.lower())) for text in texts] for key, texts in captions.items()}
