"""Registrar: does the work of a job; reads its corpus and registers it."""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datastores.base import DomainStore
from datastores.registration import Registered, extend, register
from models.bundle.loaded import LoadedBundle
from service.batching.queue import Priority
from service.captioning.batched_models import BatchedModels
from service.jobs.corpus_reading import corpus_limits, open_corpus
from service.jobs.records import JobKind, JobRecord
from service.jobs.registration_tracker import RegistrationTracker
from service.monitoring.tracing import note, span
from service.schemas import DomainAnswer, RegistrationAnswer
from service.settings import CorpusSettings

# Captions of a corpus in the queue at a time. A new request waits for at most this many.
_CAPTIONS_AT_ONCE = 64


@dataclass(frozen=True)
class Registrar:
    """Registers corpora. The CLAP embeds their captions while no request needs it.

    Attributes:
        store: the datastore that receives the domains.
        bundle: the bundle of the service, with the CLAP that embeds.
        models: the models of the bundle, in batches.
        limits: limits of a corpus.
    """

    store: DomainStore
    bundle: LoadedBundle
    models: BatchedModels
    limits: CorpusSettings

    async def carry_out(self, record: JobRecord, path: Path, tracker: RegistrationTracker) -> RegistrationAnswer:
        """Register the corpus at `path` as the record specifies.

        Raises:
            CorpusError, DatastoreError: see `datastores.registration`; the domain is then unchanged.
            OSError: the corpus has been removed.
        """
        corpus = await asyncio.to_thread(open_corpus, path, record, self.limits)
        tracker.follow(corpus)
        # The span outlives the request that started it, and stays in the trace of that request.
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

    async def _registered(self, record: JobRecord, tracker: RegistrationTracker) -> Registered:
        embed = partial(self.models.embed_text, priority=Priority.JOB)
        if record.kind is JobKind.append:
            return await extend(
                self.store,
                record.domain,
                tracker,
                self.bundle.clap,
                limits=corpus_limits(self.limits),
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
