"""The history of finished jobs."""

from datetime import UTC, datetime, timedelta

from service.jobs.records import JobRecord
from service.settings import JobsSettings


class JobHistory:
    """Finished jobs by id. The settings limit their number and age."""

    def __init__(self, settings: JobsSettings) -> None:
        self._kept = settings.kept
        self._age = timedelta(days=settings.kept_days)
        self.records: dict[str, JobRecord] = {}

    def add(self, record: JobRecord) -> None:
        """Add a finished job."""
        self.records[record.id] = record

    def prune(self) -> list[str]:
        """Remove the oldest jobs over the limits. Return their ids."""
        oldest = datetime.now(UTC) - self._age
        newest_first = sorted(self.records.values(), key=_end_of, reverse=True)
        doomed = [one.id for at, one in enumerate(newest_first) if at >= self._kept or _end_of(one) < oldest]
        for job in doomed:
            del self.records[job]
        return doomed


def _end_of(record: JobRecord) -> datetime:
    return record.finished or record.created
