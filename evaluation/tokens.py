"""Cuts captions into lower-case words without punctuation, as the metrics of pycocoevalcap expect them."""

import logging
import re
from collections.abc import Sequence
from typing import Literal

from evaluation.java import JavaFailed, ask_java, java_found

logger = logging.getLogger(__name__)

TokenizerName = Literal["ptb", "words"]

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


class Tokenizer:
    """The Penn Treebank tokenizer of pycocoevalcap, which needs Java, or a regular expression.

    Captions to compare need the same tokenizer: scores with the two differ slightly.

    Attributes:
        name: ``ptb`` or ``words``.
    """

    def __init__(self, name: TokenizerName, seconds: float = 300.0) -> None:
        self.name = name
        self._seconds = seconds

    @classmethod
    def pick(cls, java: bool | None = None, seconds: float = 300.0) -> "Tokenizer":
        """Return ``ptb`` if it works, else ``words``.

        Args:
            java: True requires ``ptb``, False chooses ``words``, None looks for Java.
            seconds: limit of one run of Java.

        Raises:
            JavaFailed: if `java` is True and the tokenizer does not run.
        """
        if java is False or (java is None and not java_found()):
            return cls("words", seconds)
        tokenizer = cls("ptb", seconds)
        try:
            tokenizer(["a trial"])
        except JavaFailed as error:
            if java:
                raise
            logger.warning("captions are cut by a regular expression, the Penn Treebank tokenizer fails: %s", error)
            return cls("words", seconds)
        return tokenizer

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """n captions -> n captions as words joined by spaces; "" for a caption without a word.

        Raises:
            JavaFailed: the Java of ``ptb`` failed or took too long.
        """
        if self.name == "words":
            return [" ".join(_WORD.findall(text.lower())) for text in texts]
        return [str(text) for text in ask_java("tokenize", list(texts), self._seconds)]
