"""Jobs as they are shown and remembered: one JSON file a job, and the corpus it works on beside it.

    FOLDER/lock            held by the one process that works on these jobs
    FOLDER/<id>.part       an upload that still arrives
    FOLDER/<id>.corpus     an upload that is complete
    FOLDER/<id>.json       the record

A record is replaced by rename and written after its corpus, so a kill at any moment leaves each job as it was
last said to be; what belongs to no unfinished job is removed at the next start.
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
    """What a job does: put a corpus in the place of the domain's captions, or add to them."""

    register = "register"
    append = "append"


class JobState(StrEnum):
    """Where a job stands."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (JobState.succeeded, JobState.failed, JobState.cancelled)


class JobProgress(BaseModel):
    """How far a job is."""

    stage: str = Field("waiting", description="waiting, embedding, storing or done", examples=["embedding"])
    bytes_read: int = Field(0, examples=[180224])
    bytes_total: int = Field(0, description="of the upload", examples=[1093417])
    captions_read: int = Field(0, description="captions read so far, each counted once", examples=[3180])
    embedded: int = Field(0, description="captions that were new and have been embedded", examples=[2048])
    reused: int = Field(0, description="captions that keep the vector they had", examples=[0])
    stored: int = Field(0, description="captions written to the new version", examples=[1024])
    rate: float | None = Field(None, description="captions a second", examples=[296.4])
    eta_seconds: float | None = Field(None, description="seconds left; null while nobody can tell", examples=[58.7])


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
    result: RegistrationAnswer | None = Field(None, description="once succeeded: what wait=true would have answered")
    problem: Problem | None = Field(None, description="once failed: what wait=true would have answered")


class JobList(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobAnswer]


class JobRecord(JobAnswer):
    """A job as it is remembered, with what is needed to begin it again.

    `waited` is set while a client waits for the answer itself, so that nobody asks for it after a restart.
    """

    model_config = ConfigDict(extra="forbid")

    media_type: str
    filename: str
    column: str | None
    on_error: OnError
    waited: bool
    request_id: str

    def answer(self) -> JobAnswer:
        """What of it is shown."""
        return JobAnswer.model_validate(self.model_dump(include=set(JobAnswer.model_fields)))


class JobFiles:
    """The files below one folder, held by one process. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        """Make the folder where missing and take its lock. Raises `JobsFolderFailed`."""
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
            raise _failed(self.folder, "is in use by another process; give this one a folder of its own") from error

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()

    def part(self, job: str) -> Path:
        """Where an upload goes while it arrives."""
        return self.folder / f"{job}.part"

    def corpus(self, job: str) -> Path:
        """Where it stays until its job is done."""
        return self.folder / f"{job}.corpus"

    def save(self, record: JobRecord) -> None:
        """Remember a job, durably and at once. Raises `JobsFolderFailed`."""
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
        """Remove the upload of a job, whether it was complete or not."""
        for path in (self.corpus(job), self.part(job)):
            path.unlink(missing_ok=True)

    def forget(self, job: str) -> None:
        """Remove a job with everything it has."""
        self._record(job).unlink(missing_ok=True)
        self.drop_corpus(job)

    def load(self) -> list[JobRecord]:
        """Every remembered job. What a kill left behind is removed. Only at start."""
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
            logger.error("the record %s cannot be read and is removed: %s", path, error)
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
    return JobsFolderFailed(f"the folder {folder} of the jobs {what} ({variable_name('jobs', 'path')})")
