"""Records of jobs: each job has a JSON file, and its corpus lies next to it.

    FOLDER/lock            locked by the process that owns these jobs
    FOLDER/<id>.part       an upload that is still arriving
    FOLDER/<id>.corpus     an upload that is complete
    FOLDER/<id>.json       the record

A record is replaced by a rename and is written after its corpus. So a kill at any moment leaves each job in its last
reported state. The next start removes files that belong to no unfinished job.
"""

import fcntl
import logging
import os
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datastores.corpus.reader import OnError
from service.errors import JobsFolderFailed
from service.schemas import Problem, RegistrationAnswer
from service.settings import variable_name

logger = logging.getLogger(__name__)


class JobKind(StrEnum):
    """The work of a job: `register` replaces the captions of a domain, `append` adds captions to it."""

    register = "register"
    append = "append"


class JobState(StrEnum):
    """The state of a job."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (JobState.succeeded, JobState.failed, JobState.cancelled)


class JobProgress(BaseModel):
    """The progress of a job."""

    stage: str = Field("waiting", description="One of waiting, embedding, storing and done.", examples=["embedding"])
    bytes_read: int = Field(0, description="Bytes of the upload that have been read.", examples=[180224])
    bytes_total: int = Field(0, description="Bytes of the upload.", examples=[1093417])
    captions_read: int = Field(0, description="Different captions read so far.", examples=[3180])
    embedded: int = Field(0, description="New captions that have been embedded.", examples=[2048])
    reused: int = Field(0, description="Captions that keep their vector from the previous version.", examples=[0])
    stored: int = Field(0, description="Captions written to the new version.", examples=[1024])
    rate: float | None = Field(None, description="Captions embedded or reused per second.", examples=[296.4])
    eta_seconds: float | None = Field(None, description="Estimated seconds left; null while unknown.", examples=[58.7])


class JobAnswer(BaseModel):
    """A registration as a job."""

    id: str = Field(examples=["3f0c9a7be2d14c55"])
    kind: JobKind
    domain: str = Field(examples=["city"])
    state: JobState = JobState.queued
    progress: JobProgress = JobProgress()
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    result: RegistrationAnswer | None = Field(None, description="After success: the answer for wait=true.")
    problem: Problem | None = Field(None, description="After failure: the answer for wait=true.")


class JobList(BaseModel):
    """A list of jobs, newest first."""

    jobs: list[JobAnswer]


class JobRecord(JobAnswer):
    """A stored job, with all that is needed to start it again.

    `waited` is true if a client waits for the answer itself. Such a job does not start again after a restart.
    """

    model_config = ConfigDict(extra="forbid")

    media_type: str
    filename: str
    column: str | None
    on_error: OnError
    waited: bool
    request_id: str

    def answer(self) -> JobAnswer:
        """Return the fields that clients see."""
        return JobAnswer.model_validate(self.model_dump(include=set(JobAnswer.model_fields)))


class JobFiles:
    """The files of jobs in one folder, which one process owns. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if it is missing, and lock it. Raises `JobsFolderFailed`."""
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("a")
        except OSError as error:
            raise _failed(self.folder, f"cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise _failed(self.folder, "is in use by another process; give this process another folder") from error

    def close(self) -> None:
        """Unlock the folder for other processes."""
        self._lock.close()

    def part(self, job: str) -> Path:
        """Return the path of an upload that is still arriving."""
        return self.folder / f"{job}.part"

    def corpus(self, job: str) -> Path:
        """Return the path of a complete upload, which stays until its job has finished."""
        return self.folder / f"{job}.corpus"

    def save(self, record: JobRecord) -> None:
        """Write a record durably and atomically. Raises `JobsFolderFailed`."""
        path = self._record(record.id)
        temporary = path.with_suffix(".new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(record.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            self._sync()
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _failed(self.folder, f"cannot be written: {error.strerror}") from error

    def drop_corpus(self, job: str) -> None:
        """Remove the upload of a job, complete or not."""
        for path in (self.corpus(job), self.part(job)):
            path.unlink(missing_ok=True)

    def forget(self, job: str) -> None:
        """Remove a job with all its files."""
        self._record(job).unlink(missing_ok=True)
        self.drop_corpus(job)

    def load(self) -> list[JobRecord]:
        """Return every stored job, and remove what a kill left behind. Call this only at start."""
        records = [record for path in self.folder.glob("*.json") if (record := self._read(path)) is not None]
        unfinished = {record.id for record in records if not record.state.finished}
        for path in self.folder.iterdir():
            if path.suffix in (".part", ".new") or (path.suffix == ".corpus" and path.stem not in unfinished):
                path.unlink(missing_ok=True)
        return records

    def _read(self, path: Path) -> JobRecord | None:
        try:
            return JobRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            logger.error("the record %s cannot be read, so it is removed: %s", path, error)
            path.unlink(missing_ok=True)
            return None

    def _record(self, job: str) -> Path:
        return self.folder / f"{job}.json"

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failed(folder: Path, what: str) -> JobsFolderFailed:
    return JobsFolderFailed(f"the jobs folder {folder} {what} ({variable_name('jobs', 'path')})")
