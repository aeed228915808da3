"""Finished jobs, remembered for a while."""

from datetime import UTC, datetime, timedelta

from service.jobs.records import JobRecord
from service.settings import JobsSettings


class JobHistory:
    """Finished jobs by id, bounded in number and age by the settings."""

    def __init__(self, settings: JobsSettings) -> None:
        self._kept = settings.kept
        self._age = timedelta(days=settings.kept_days)
        self.records: dict[str, JobRecord] = {}

    def add(self, record: JobRecord) -> None:
        """Remember a job."""
        self.records[record.id] = record

    def prune(self) -> list[str]:
        """Forget what is too old or too many; gives the ids."""
        oldest = datetime.now(UTC) - self._age
        newest_first = sorted(self.records.values(), key=_end_of, reverse=True)
        doomed = [one.id for at, one in enumerate(newest_first) if at >= self._kept or _end_of(one) < oldest]
        for job in doomed:
            del self.records[job]
        return doomed


def _end_of(record: JobRecord) -> datetime:
    return record.finished or record.created
