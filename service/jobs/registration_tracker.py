"""Registration tracker: iterates over a corpus and reports the progress of its registration."""

import time
from collections.abc import Iterator

from datastores.corpus.reader import Corpus
from datastores.embedding import Account
from service.jobs.records import JobKind, JobProgress


class RegistrationTracker(Iterator[str]):
    """Iterates over the captions of a corpus and reports the progress of their registration. Works from any thread."""

    def __init__(self, kind: JobKind, bytes_total: int) -> None:
        self.account = Account()
        self._kind = kind
        self._bytes_total = bytes_total
        self._corpus: Corpus | None = None
        self._started = 0.0
        self._read_whole = False

    def follow(self, corpus: Corpus) -> None:
        """Set the corpus, and start the clock."""
        self._corpus, self._started = corpus, time.monotonic()

    def __next__(self) -> str:
        if self._corpus is None:
            raise StopIteration
        try:
            return next(self._corpus)
        except StopIteration:
            self._read_whole = True
            raise

    def progress(self) -> JobProgress:
        """Return the progress so far."""
        if self._corpus is None:
            return JobProgress(bytes_total=self._bytes_total)
        account, corpus = self.account, self._corpus
        done = account.embedded + (account.reused if self._kind is JobKind.register else 0)
        elapsed = time.monotonic() - self._started
        rate = done / elapsed if done and elapsed > 0 else None
        left = self._captions_left(corpus, done)
        return JobProgress(
            stage="storing" if left == 0 else "embedding",
            bytes_read=corpus.bytes_read,
            bytes_total=self._bytes_total,
            captions_read=corpus.counts.kept,
            embedded=account.embedded,
            reused=account.reused,
            stored=account.stored,
            rate=None if rate is None else round(rate, 1),
            eta_seconds=None if rate is None or left is None else round(left / rate, 1),
        )

    def _captions_left(self, corpus: Corpus, done: int) -> int | None:
        """Return how many captions still need a vector. Until all is read, estimate the number from the bytes read."""
        read, bytes_read = corpus.counts.kept, corpus.bytes_read
        if self._read_whole:
            return max(0, read - self.account.repeated - done)
        # A document that is read completely before its first caption allows no estimate from bytes.
        if not 0 < bytes_read < self._bytes_total:
            return None
        return max(1, round(read * self._bytes_total / bytes_read) - self.account.repeated - done)
