"""Turns captions into tokens for a CLAP's text tower."""

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
    """A tokenizer, and the number of tokens of a caption that the text tower was trained to read."""

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self._tokenizer = tokenizer
        self._read = one_at_a_time(tokenizer)
        self._longest = longest

    @classmethod
    def load(cls, source: str | Path, family: Family, longest: int, revision: str | None = None) -> "CaptionTokens":
        """Load a tokenizer from a folder, which asks no hub, or from a model of the hub.

        Raises:
            MissingWeights: there is no tokenizer here, and it cannot be fetched.
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
        """Hash of the vocabulary, and the number of tokens read."""
        words = sorted(self._tokenizer.get_vocab().items())
        return f"{hashlib.sha256(repr(words).encode()).hexdigest()[:16]} {self._longest}"

    def check(self, rows: int, padding: int) -> None:
        """Raise `WrongWeights` unless the tokens fit an embedding of `rows` rows whose row `padding` is the padding."""
        highest = max(self._tokenizer.get_vocab().values())
        if highest >= rows:
            raise WrongWeights(f"the tokenizer has the token {highest}, the text tower only {rows} embeddings")
        if self._tokenizer.pad_token_id != padding:
            raise WrongWeights(f"the tokenizer pads with {self._tokenizer.pad_token_id}, the text tower with {padding}")

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text fits, with the tokens at its ends."""
        if not texts:
            return []
        return [len(ids) <= self._longest for ids in self._read(texts, truncation=False)["input_ids"]]

    def batches(self, texts: Sequence[str], size: int) -> Iterator[tuple[list[int], Any]]:
        """Yield rows of `texts` and their tokens (``input_ids`` and ``attention_mask``, [rows, tokens]) as tensors."""
        # Texts are sorted by length, so a batch holds texts of similar length and needs little padding.
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
    """Return a function that calls a tokenizer for one thread at a time.

    A call stores truncation and padding in the tokenizer itself. A second call at the same time would use the wrong
    ones, or raise ``RuntimeError: Already borrowed``.
    """
    lock = threading.Lock()

    def read(texts: Sequence[str], **options: Any) -> Any:
        with lock:
            return tokenizer(list(texts), **options)

    return read
