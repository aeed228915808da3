"""Tokenizers of transformers where several threads use them."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

Read = Callable[..., Any]


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
