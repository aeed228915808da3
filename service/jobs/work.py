"""The work of a job: read its corpus, register it, and say meanwhile how far that is."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from datastores.corpus.reader import Corpus, CorpusLimits, read_corpus
from datastores.registration import Account
from service.captioning.captioner import Captioner
from service.errors import as_service_error
from service.http.problems import problem_body
from service.jobs.records import JobKind, JobProgress, JobRecord
from service.monitoring.tracing import note, span
from service.schemas import DomainAnswer, Problem, RegistrationAnswer
from service.settings import CorpusSettings

logger = logging.getLogger(__name__)


class Tracker(Iterator[str]):
    """Hands on the captions of a corpus and knows, from any thread, how far everything is."""

    def __init__(self, kind: JobKind, bytes_total: int) -> None:
        self.account = Account()
        self._kind = kind
        self._bytes_total = bytes_total
        self._corpus: Corpus | None = None
        self._started = 0.0
        self._read_whole = False

    def follow(self, corpus: Corpus) -> None:
        """Begin."""
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
        """How far it is now."""
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
        """Captions still to be given a vector: known at the end of reading, guessed from the bytes before."""
        read, bytes_read = corpus.counts.kept, corpus.bytes_read
        if self._read_whole:
            return max(0, read - self.account.repeated - done)
        # A document that is read whole before its first caption tells nothing by its bytes.
        if not 0 < bytes_read < self._bytes_total:
            return None
        return max(1, round(read * self._bytes_total / bytes_read) - self.account.repeated - done)


def corpus_limits(settings: CorpusSettings) -> CorpusLimits:
    """What the settings allow a corpus."""
    return CorpusLimits(settings.max_captions, settings.max_caption_characters, settings.max_unpacked_bytes)


def open_corpus(path: Path, record: JobRecord, settings: CorpusSettings) -> Corpus:
    """The captions of an upload. Raises `CorpusError` when its beginning is of no format of a corpus."""
    return read_corpus(
        path,
        media_type=record.media_type,
        filename=record.filename,
        limits=corpus_limits(settings),
        column=record.column,
        on_error=record.on_error,
    )


async def carry_out(
    record: JobRecord, path: Path, tracker: Tracker, captioner: Captioner, limits: CorpusSettings
) -> RegistrationAnswer:
    """Register the corpus at `path` as the record says.

    Raises:
        CorpusError, DatastoreError: see `datastores.registration`; the domain is then as it was.
        OSError: the corpus is gone.
    """
    corpus = await asyncio.to_thread(open_corpus, path, record, limits)
    tracker.follow(corpus)
    # It outlives the request it began with, and stays in its trace.
    with span("registration"):
        note("domain", record.domain)
        if record.kind is JobKind.append:
            made = await captioner.extend(record.domain, tracker, limits.max_captions, tracker.account)
        else:
            made = await captioner.register(record.domain, tracker, tracker.account)
        note("captions", made.version.captions)
        note("embedded", made.embedded)
    counts = corpus.counts
    return RegistrationAnswer(
        **DomainAnswer.of(made.version, captioner.bundle).model_dump(),
        received=counts.read,
        duplicates=counts.duplicates + made.repeated,
        empty=counts.empty,
        skipped=counts.skipped,
        problems=corpus.problems,
        embedded=made.embedded,
        reused=made.reused,
        seconds=round(made.seconds, 3),
    )


def problem_of(record: JobRecord, error: Exception) -> Problem:
    """What a waiting client would be answered. An error that nobody foresaw is logged."""
    known = as_service_error(error)
    if known.status == 500:
        logger.error("job %s of request %s failed", record.id, record.request_id, exc_info=error)
    body = problem_body(known.status, known.slug, known.detail, f"/domains/{record.domain}", record.request_id)
    return Problem(**body)
