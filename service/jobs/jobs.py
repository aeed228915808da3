"""Jobs: runs registrations, one per domain and a limited number at a time, and keeps them through a restart."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec

from prometheus_client import Gauge

from service.admission.job_slots import JobSlots
from service.errors import (
    JobCancelled,
    JobFinished,
    JobInterrupted,
    ServiceError,
    UnknownJob,
)
from service.jobs.history import JobHistory
from service.jobs.job_problem import problem_of
from service.jobs.records import JobFiles, JobRecord, JobState
from service.jobs.registration_tracker import RegistrationTracker
from service.schemas import RegistrationAnswer
from service.settings import Settings

logger = logging.getLogger(__name__)

P = ParamSpec("P")
RunJob = Callable[[JobRecord, Path, RegistrationTracker], Awaitable[RegistrationAnswer]]


def _nobody(_: JobRecord) -> None: ...


@dataclass
class _UnfinishedJob:
    """A job that has not finished."""

    record: JobRecord
    tracker: RegistrationTracker
    task: "asyncio.Task[None] | None" = None
    ending: bool = False
    error: Exception | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Jobs:
    """Accepts registrations and ensures that each is done once, even after a restart. `open` makes an instance.

    Attributes:
        slots: the domains that are busy; hold one from before the upload until `submit`.
        files: the files of the jobs; upload to `files.part(job)`.
    """

    def __init__(
        self,
        files: JobFiles,
        run_job: RunJob,
        settings: Settings,
        running: Gauge,
        ended: Callable[[JobRecord], None] = _nobody,
    ) -> None:
        self.files = files
        self._run_job = run_job
        self.slots = JobSlots(settings, files.drop_corpus)
        self._gauge = running
        self._ended = ended
        self._permits = asyncio.Semaphore(settings.admission.registrations)
        self._history = JobHistory()
        self._active: dict[str, _UnfinishedJob] = {}
        self._closing = False
        # One thread, so that the records of a job are written in order.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    @classmethod
    async def open(
        cls, run_job: RunJob, settings: Settings, running: Gauge, ended: Callable[[JobRecord], None] = _nobody
    ) -> "Jobs":
        """Open the folder and continue the jobs that a stop or a kill interrupted. Raises `JobsFolderFailed`."""
        files = await asyncio.to_thread(JobFiles, settings.jobs.path)
        jobs = cls(files, run_job, settings, running, ended)
        try:
            for record in sorted(await asyncio.to_thread(files.load), key=lambda one: one.created):
                await jobs._resume(record)
            await jobs._prune()
        except BaseException:
            await jobs.close()
            raise
        return jobs

    async def close(self) -> None:
        """Stop the running jobs. They start again when the folder is next opened."""
        self._closing = True
        await asyncio.gather(*(self._stop(one) for one in tuple(self._active.values())))
        # Wait for the writes under way, so that nothing writes after another process has taken the folder.
        await asyncio.to_thread(self._disk.shutdown)
        self.files.close()

    async def submit(self, record: JobRecord) -> JobRecord:
        """Accept the job of a reserved domain once its upload is complete. Raises `JobsFolderFailed`."""
        keeping = asyncio.ensure_future(self._on_disk(self._keep, record))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            await asyncio.wait([keeping])
            self.files.forget(record.id)
            raise
        self._start(record)
        return record

    def list(self) -> list[JobRecord]:
        """Return all unfinished and remembered jobs, newest first."""
        records = self._history.records | {job: self._shown(one) for job, one in self._active.items()}
        return sorted(records.values(), key=lambda record: record.created, reverse=True)

    def get(self, job: str) -> JobRecord:
        """Return one job. Raises `UnknownJob`."""
        if job in self._active:
            return self._shown(self._active[job])
        if job in self._history.records:
            return self._history.records[job]
        raise UnknownJob(f"there is no job {job!r}; finished jobs are removed after some time")

    def outcome(self, job: str) -> Coroutine[None, None, RegistrationAnswer]:
        """Wait for an unfinished job and return its answer. Cancelling this wait cancels the job.

        Raises:
            JobCancelled: someone else cancelled the job.
            Exception: the error of the failed job.
        """
        return self._outcome(self._active[job])

    async def _outcome(self, active: _UnfinishedJob) -> RegistrationAnswer:
        try:
            await active.done.wait()
        except asyncio.CancelledError:
            await self._stop(active)
            raise
        if active.error is not None:
            raise active.error
        if active.record.result is None:
            raise JobCancelled(f"job {active.record.id} was cancelled; the domain is unchanged")
        return active.record.result

    async def cancel(self, job: str) -> JobRecord:
        """Cancel a job and wait until it has ended. Return a job that is already cancelled unchanged.

        Raises:
            UnknownJob: there is no such job.
            JobFinished: the job has finished, or could no longer be stopped before the switch.
        """
        active = self._active.get(job)
        if active is not None:
            await self._stop(active)
        record = self.get(job)
        if record.state is not JobState.cancelled:
            raise JobFinished(f"job {job} has already {record.state.value}; it cannot be cancelled")
        return record

    async def _stop(self, active: _UnfinishedJob) -> None:
        # A task that is cancelled before its first step would never set `done`.
        await active.begun.wait()
        if active.task is not None and not active.ending:
            active.task.cancel()
        await active.done.wait()

    async def _resume(self, record: JobRecord) -> None:
        corpus = self.files.corpus(record.id)
        if record.state.finished:
            self._history.add(record)
        elif record.waited:
            await self._end(
                record, JobState.failed, JobInterrupted("the service stopped while a client waited for this job")
            )
        elif not corpus.exists() or corpus.stat().st_size != record.progress.bytes_total:
            broken = JobInterrupted("the service stopped, and the upload is damaged; send the corpus again")
            await self._end(record, JobState.failed, broken)
        else:
            logger.info("job %s starts again: %s of domain %s", record.id, record.kind.value, record.domain)
            self._start(record.model_copy(update={"state": JobState.queued, "started": None}))

    def _start(self, record: JobRecord) -> None:
        active = _UnfinishedJob(record, RegistrationTracker(record.kind, record.progress.bytes_total))
        self._active[record.id] = active
        self.slots.keep(record.domain, record.id)
        active.task = asyncio.create_task(self._run(active))

    async def _run(self, active: _UnfinishedJob) -> None:
        active.begun.set()
        state, error, answer = JobState.succeeded, None, None
        try:
            async with self._permits:
                with self._gauge.track_inprogress():
                    active.record = await self._begin(active.record)
                    answer = await self._run_job(active.record, self.files.corpus(active.record.id), active.tracker)
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
        await self._on_disk(self.files.save, record)
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
        self.slots.release(record.domain, record.id)
        try:
            await self._on_disk(self.files.save, record)
        except ServiceError as failure:
            # The job is done even if its record cannot be written; after a restart it would only be done again.
            logger.error("job %s is %s, but its record cannot be written: %s", record.id, state.value, failure)
        else:
            await self._on_disk(self.files.drop_corpus, record.id)
        return record

    async def _on_disk(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, partial(work, *args, **kwargs))

    def _keep(self, record: JobRecord) -> None:
        self.files.part(record.id).rename(self.files.corpus(record.id))
        self.files.save(record)

    async def _prune(self) -> None:
        for job in self._history.prune():
            await self._on_disk(self.files.forget, job)

    def _shown(self, active: _UnfinishedJob) -> JobRecord:
        return active.record.model_copy(update={"progress": active.tracker.progress()})
