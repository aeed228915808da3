"""The history of finished jobs."""

from datetime import UTC, datetime, timedelta

from service.jobs.records import JobRecord

# Number and age in days of the finished jobs that are remembered. Each is a file, which is read at every start.
KEPT = 200
KEPT_DAYS = 7.0


class JobHistory:
    """Finished jobs by id, at most `KEPT` that are not older than `KEPT_DAYS`."""

    def __init__(self) -> None:
        self.records: dict[str, JobRecord] = {}

    def add(self, record: JobRecord) -> None:
        """Add a finished job."""
        self.records[record.id] = record

    def prune(self) -> list[str]:
        """Remove the oldest jobs over the limits. Return their ids."""
        oldest = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
        newest_first = sorted(self.records.values(), key=_end_of, reverse=True)
        doomed = [one.id for at, one in enumerate(newest_first) if at >= KEPT or _end_of(one) < oldest]
        for job in doomed:
            del self.records[job]
        return doomed


def _end_of(record: JobRecord) -> datetime:
    return record.finished or record.created
