"""The work of a job: reads its corpus, registers it, and tells the progress."""

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datastores.base import DomainStore
from datastores.corpus.reader import Corpus, CorpusLimits, read_corpus
from datastores.registration import Account, Registered, extend, register
from models.bundle.loaded import LoadedBundle
from service.batching.batcher import Priority
from service.captioning.working_models import WorkingModels
from service.http.problems import as_service_error, problem_body
from service.jobs.records import JobKind, JobProgress, JobRecord
from service.monitoring.tracing import note, span
from service.schemas import DomainAnswer, Problem, RegistrationAnswer
from service.settings import CorpusSettings

logger = logging.getLogger(__name__)

# Captions of a corpus in the queue at a time: requests that come meanwhile wait for these at most.
_CAPTIONS_AT_ONCE = 64


class Tracker(Iterator[str]):
    """Iterates over the captions of a corpus and tells the progress of their registration, from any thread."""

    def __init__(self, kind: JobKind, bytes_total: int) -> None:
        self.account = Account()
        self._kind = kind
        self._bytes_total = bytes_total
        self._corpus: Corpus | None = None
        self._started = 0.0
        self._read_whole = False

    def follow(self, corpus: Corpus) -> None:
        """Start on a corpus."""
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
        """Return how many captions still need a vector: an estimate from the bytes until all is read."""
        read, bytes_read = corpus.counts.kept, corpus.bytes_read
        if self._read_whole:
            return max(0, read - self.account.repeated - done)
        # Bytes tell nothing about a document that is read whole before its first caption.
        if not 0 < bytes_read < self._bytes_total:
            return None
        return max(1, round(read * self._bytes_total / bytes_read) - self.account.repeated - done)


def corpus_limits(settings: CorpusSettings) -> CorpusLimits:
    """Return the limits that the settings put on a corpus."""
    return CorpusLimits(settings.max_captions, settings.max_caption_characters, settings.max_unpacked_bytes)


def open_corpus(path: Path, record: JobRecord, settings: CorpusSettings) -> Corpus:
    """Open the captions of an upload. Raises `CorpusError` if its beginning matches no corpus format."""
    return read_corpus(
        path,
        media_type=record.media_type,
        filename=record.filename,
        limits=corpus_limits(settings),
        column=record.column,
        on_error=record.on_error,
    )


@dataclass(frozen=True)
class Registrar:
    """Registers corpora. The CLAP embeds their captions when no request needs it.

    Attributes:
        store: takes the domains.
        bundle: the bundle of the service; its CLAP embeds.
        models: its models, batched.
        limits: of a corpus.
    """

    store: DomainStore
    bundle: LoadedBundle
    models: WorkingModels
    limits: CorpusSettings

    async def carry_out(self, record: JobRecord, path: Path, tracker: Tracker) -> RegistrationAnswer:
        """Register the corpus at `path` as the record says.

        Raises:
            CorpusError, DatastoreError: see `datastores.registration`; the domain is then as it was before.
            OSError: the corpus is gone.
        """
        corpus = await asyncio.to_thread(open_corpus, path, record, self.limits)
        tracker.follow(corpus)
        # The span outlives the request that began it, and stays in its trace.
        with span("registration"):
            note("domain", record.domain)
            made = await self._registered(record, tracker)
            note("captions", made.version.captions)
            note("embedded", made.embedded)
        counts = corpus.counts
        return RegistrationAnswer(
            **DomainAnswer.of(made.version, self.bundle).model_dump(),
            received=counts.read,
            duplicates=counts.duplicates + made.repeated,
            empty=counts.empty,
            skipped=counts.skipped,
            problems=corpus.problems,
            embedded=made.embedded,
            reused=made.reused,
            seconds=round(made.seconds, 3),
        )

    async def _registered(self, record: JobRecord, tracker: Tracker) -> Registered:
        embed = partial(self.models.embed_text, priority=Priority.JOB)
        if record.kind is JobKind.append:
            return await extend(
                self.store,
                record.domain,
                tracker,
                self.bundle.clap,
                max_captions=self.limits.max_captions,
                piece=_CAPTIONS_AT_ONCE,
                embed=embed,
                account=tracker.account,
            )
        return await register(
            self.store,
            record.domain,
            tracker,
            self.bundle.clap,
            piece=_CAPTIONS_AT_ONCE,
            embed=embed,
            account=tracker.account,
        )


def problem_of(record: JobRecord, error: Exception) -> Problem:
    """Return the problem that a waiting client is answered. An unexpected error is logged."""
    known = as_service_error(error)
    if known.status == 500:
        logger.error("job %s of request %s failed", record.id, record.request_id, exc_info=error)
    body = problem_body(known.status, known.slug, known.detail, f"/domains/{record.domain}", record.request_id)
    return Problem(**body)
