"""Registrations as jobs: one a domain, a bounded number at a time, remembered through a restart."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec

from prometheus_client import Gauge

from service.admission.slots import JobSlots
from service.errors import (
    JobCancelled,
    JobFinished,
    JobInterrupted,
    ServiceError,
    UnknownJob,
)
from service.jobs.history import JobHistory
from service.jobs.records import JobFiles, JobRecord, JobState
from service.jobs.work import Tracker, problem_of
from service.schemas import RegistrationAnswer
from service.settings import Settings

logger = logging.getLogger(__name__)

P = ParamSpec("P")
Work = Callable[[JobRecord, Path, Tracker], Awaitable[RegistrationAnswer]]


def _nobody(_: JobRecord) -> None: ...


@dataclass
class _Active:
    """A job that is not finished."""

    record: JobRecord
    tracker: Tracker
    task: "asyncio.Task[None] | None" = None
    ending: bool = False
    error: Exception | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Jobs:
    """Takes in registrations and sees to it that each is done once, also after a restart. `open` makes one."""

    def __init__(
        self,
        files: JobFiles,
        work: Work,
        settings: Settings,
        running: Gauge,
        ended: Callable[[JobRecord], None] = _nobody,
    ) -> None:
        self._files = files
        self._work = work
        self._slots = JobSlots(settings)
        self._gauge = running
        self._ended = ended
        self._permits = asyncio.Semaphore(settings.admission.registrations)
        self._history = JobHistory(settings.jobs)
        self._active: dict[str, _Active] = {}
        self._closing = False
        # One thread, so that of two records of a job the later one stays.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    @classmethod
    async def open(
        cls, work: Work, settings: Settings, running: Gauge, ended: Callable[[JobRecord], None] = _nobody
    ) -> "Jobs":
        """Open the folder and go on with what a stop or a kill interrupted. Raises `JobsFolderFailed`."""
        files = await asyncio.to_thread(JobFiles, settings.jobs.path)
        jobs = cls(files, work, settings, running, ended)
        try:
            for record in sorted(await asyncio.to_thread(files.load), key=lambda one: one.created):
                await jobs._resume(record)
            await jobs._prune()
        except BaseException:
            await jobs.close()
            raise
        return jobs

    async def close(self) -> None:
        """Stop what runs; it is begun again when the folder is opened next."""
        self._closing = True
        await asyncio.gather(*(self._stop(one) for one in tuple(self._active.values())))
        # What was begun there goes to its end, so that nothing writes once another process has the folder.
        await asyncio.to_thread(self._disk.shutdown)
        self._files.close()

    def reserve(self, domain: str) -> AbstractContextManager[str]:
        """Hold a domain while its corpus is uploaded to `part`; see `JobSlots.reserve`."""
        return self._slots.reserve(domain, self._files.drop_corpus)

    def check_free(self, domain: str) -> None:
        """Raise `DomainBusy` while the domain has an unfinished job."""
        self._slots.check_free(domain)

    def part(self, job: str) -> Path:
        """Where the upload of a reserved job goes."""
        return self._files.part(job)

    async def submit(self, record: JobRecord) -> JobRecord:
        """Take in a reserved job whose upload is complete. Raises `JobsFolderFailed`."""
        keeping = asyncio.ensure_future(self._on_disk(self._keep, record))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            await asyncio.wait([keeping])
            self._files.forget(record.id)
            raise
        self._start(record)
        return record

    def list(self) -> list[JobRecord]:
        """Every job that is remembered, the newest first."""
        records = self._history.records | {job: self._shown(one) for job, one in self._active.items()}
        return sorted(records.values(), key=lambda record: record.created, reverse=True)

    def get(self, job: str) -> JobRecord:
        """One job. Raises `UnknownJob`."""
        if job in self._active:
            return self._shown(self._active[job])
        if job in self._history.records:
            return self._history.records[job]
        raise UnknownJob(f"there is no job {job!r}; finished ones are forgotten after a while")

    def outcome(self, job: str) -> Coroutine[None, None, RegistrationAnswer]:
        """Wait for an unfinished job; whoever stops waiting cancels it.

        Raises:
            JobCancelled: somebody else did.
            Exception: what the job failed with.
        """
        return self._outcome(self._active[job])

    async def _outcome(self, active: _Active) -> RegistrationAnswer:
        try:
            await active.done.wait()
        except asyncio.CancelledError:
            await self._stop(active)
            raise
        if active.error is not None:
            raise active.error
        if active.record.result is None:
            raise JobCancelled(f"job {active.record.id} was cancelled; the domain is as it was")
        return active.record.result

    async def cancel(self, job: str) -> JobRecord:
        """Cancel a job and wait until it has ended; a job cancelled before is answered as it is.

        Raises:
            UnknownJob: there is none.
            JobFinished: it is done, or was about to switch and could not be stopped any more.
        """
        active = self._active.get(job)
        if active is not None:
            await self._stop(active)
        record = self.get(job)
        if record.state is not JobState.cancelled:
            raise JobFinished(f"job {job} has {record.state.value}; there is nothing left to cancel")
        return record

    async def _stop(self, active: _Active) -> None:
        # A task that is cancelled before its first step would never say that it is done.
        await active.begun.wait()
        if active.task is not None and not active.ending:
            active.task.cancel()
        await active.done.wait()

    async def _resume(self, record: JobRecord) -> None:
        corpus = self._files.corpus(record.id)
        if record.state.finished:
            self._history.add(record)
        elif record.waited:
            await self._end(record, JobState.failed, JobInterrupted("the service stopped while a client waited for it"))
        elif not corpus.exists() or corpus.stat().st_size != record.progress.bytes_total:
            broken = JobInterrupted("the service stopped, and the upload is damaged; send the corpus again")
            await self._end(record, JobState.failed, broken)
        else:
            logger.info("job %s begins again: %s of domain %s", record.id, record.kind.value, record.domain)
            self._start(record.model_copy(update={"state": JobState.queued, "started": None}))

    def _start(self, record: JobRecord) -> None:
        active = _Active(record, Tracker(record.kind, record.progress.bytes_total))
        self._active[record.id] = active
        self._slots.keep(record.domain, record.id)
        active.task = asyncio.create_task(self._run(active))

    async def _run(self, active: _Active) -> None:
        active.begun.set()
        state, error, answer = JobState.succeeded, None, None
        try:
            async with self._permits:
                with self._gauge.track_inprogress():
                    active.record = await self._begin(active.record)
                    answer = await self._work(active.record, self._files.corpus(active.record.id), active.tracker)
        except asyncio.CancelledError:
            if self._closing:
                active.error = JobInterrupted("the service is stopping")
                active.done.set()
                raise
            state = JobState.cancelled
        except Exception as raised:
            state, error = JobState.failed, raised
        active.ending = True
        try:
            active.record = self._shown(active)
            active.record = await self._end(active.record, state, error, answer)
        finally:
            active.error = error
            del self._active[active.record.id]
            active.done.set()
        await self._prune()

    async def _begin(self, record: JobRecord) -> JobRecord:
        record = record.model_copy(update={"state": JobState.running, "started": datetime.now(UTC)})
        await self._on_disk(self._files.save, record)
        return record

    async def _end(
        self,
        record: JobRecord,
        state: JobState,
        error: Exception | None = None,
        answer: RegistrationAnswer | None = None,
    ) -> JobRecord:
        progress = record.progress.model_copy(update={"stage": "done", "eta_seconds": None})
        changes: dict[str, object] = {
            "state": state,
            "finished": datetime.now(UTC),
            "progress": progress,
            "result": answer,
        }
        if error is not None:
            changes["problem"] = problem_of(record, error)
        record = record.model_copy(update=changes)
        self._history.add(record)
        self._ended(record)
        self._slots.release(record.domain, record.id)
        try:
            await self._on_disk(self._files.save, record)
        except ServiceError as failure:
            # The job is done whatever the disk says; after a restart it would only be done again.
            logger.error("job %s is %s, which cannot be written down: %s", record.id, state.value, failure)
        else:
            await self._on_disk(self._files.drop_corpus, record.id)
        return record

    async def _on_disk(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, partial(work, *args, **kwargs))

    def _keep(self, record: JobRecord) -> None:
        self._files.part(record.id).rename(self._files.corpus(record.id))
        self._files.save(record)

    async def _prune(self) -> None:
        for job in self._history.prune():
            await self._on_disk(self._files.forget, job)

    def _shown(self, active: _Active) -> JobRecord:
        return active.record.model_copy(update={"progress": active.tracker.progress()})
