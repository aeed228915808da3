"""Captions as tokens for a CLAP's text tower."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from models.weights import MissingWeights, WrongWeights

Read = Callable[..., Any]
Family = Literal["roberta", "bert"]
HUB_NAMES: dict[Family, str] = {"roberta": "roberta-base", "bert": "bert-base-uncased"}


class CaptionTokens:
    """A tokenizer, and how many tokens of a caption the text tower was trained to read."""

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self._tokenizer = tokenizer
        self._read = one_at_a_time(tokenizer)
        self._longest = longest

    @classmethod
    def load(cls, source: str | Path, family: Family, longest: int, revision: str | None = None) -> "CaptionTokens":
        """From a folder, of which nothing leaves, or a model of the hub.

        Raises:
            MissingWeights: there is no tokenizer, and none can be fetched.
        """
        from transformers import BertTokenizer, RobertaTokenizer

        kind: Any = RobertaTokenizer if family == "roberta" else BertTokenizer
        local = isinstance(source, Path)
        try:
            tokenizer = kind.from_pretrained(str(source), revision=revision, local_files_only=local)
        except (OSError, ValueError) as error:
            raise MissingWeights(f"no {family} tokenizer at {source}: {error}") from error
        if not len(tokenizer) > len(tokenizer.all_special_ids):
            raise MissingWeights(f"no {family} tokenizer at {source}: it knows no words")
        return cls(tokenizer, longest)

    def save(self, folder: Path) -> None:
        """Write the files that `load` reads."""
        self._tokenizer.save_pretrained(str(folder))

    @property
    def fingerprint(self) -> str:
        """Equal for tokenizers of equal words that read equally far."""
        words = sorted(self._tokenizer.get_vocab().items())
        return f"{hashlib.sha256(repr(words).encode()).hexdigest()[:16]} {self._longest}"

    def check(self, rows: int, padding: int) -> None:
        """Raises `WrongWeights` unless the tokens fit an embedding of `rows` rows whose row `padding` is no word."""
        highest = max(self._tokenizer.get_vocab().values())
        if highest >= rows:
            raise WrongWeights(f"the tokenizer has the token {highest}, the text tower only {rows} embeddings")
        if self._tokenizer.pad_token_id != padding:
            raise WrongWeights(f"the tokenizer pads with {self._tokenizer.pad_token_id}, the text tower with {padding}")

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is within the longest, the tokens at its ends included."""
        if not texts:
            return []
        return [len(ids) <= self._longest for ids in self._read(texts, truncation=False)["input_ids"]]

    def batches(self, texts: Sequence[str], size: int) -> Iterator[tuple[list[int], Any]]:
        """Rows of `texts`, and their tokens (``input_ids`` and ``attention_mask``, [rows, tokens]) as tensors."""
        # Sorted by length, a batch holds texts of about one length and wastes little on padding.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield (
                rows,
                self._read(
                    [texts[row] for row in rows],
                    padding=True,
                    truncation=True,
                    max_length=self._longest,
                    return_tensors="pt",
                ),
            )


def one_at_a_time(tokenizer: Any) -> Read:
    """What calls a tokenizer for one thread at a time.

    A call sets in the tokenizer itself how far it reads and whether it pads; another one meanwhile reads otherwise,
    or raises ``RuntimeError: Already borrowed``.
    """
    lock = threading.Lock()

    def read(texts: Sequence[str], **options: Any) -> Any:
        with lock:
            return tokenizer(list(texts), **options)

    return read
