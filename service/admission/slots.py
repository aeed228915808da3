"""Who may register now: one job a domain, and a bounded number in all."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from datastores.base import DomainBusy
from service.errors import Overloaded
from service.settings import Settings, variable_name


class JobSlots:
    """The domains that are uploaded to, wait, or are registered, each with the id of its job."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.admission.registrations + settings.jobs.waiting
        self._retry_after = str(settings.admission.retry_after_seconds)
        self._taken: dict[str, str] = {}

    @contextmanager
    def reserve(self, domain: str, drop: Callable[[str], None]) -> Iterator[str]:
        """Hold a domain while its corpus is uploaded; gives the id of the job to be.

        Unless `keep` was called meanwhile, the domain is free at the end and `drop` is called with the id.

        Raises:
            DomainBusy: the domain has a job.
            Overloaded: there are as many jobs as are let in.
        """
        self.check_free(domain)
        if len(self._taken) >= self._limit:
            raise Overloaded(
                f"{len(self._taken)} registrations are under way or waiting, as many as are let in"
                f" ({variable_name('admission', 'registrations')} and {variable_name('jobs', 'waiting')})",
                {"Retry-After": self._retry_after},
            )
        job = secrets.token_hex(8)
        uploading = f"{job} (uploading)"
        self._taken[domain] = uploading
        try:
            yield job
        finally:
            if self._taken.get(domain) == uploading:
                del self._taken[domain]
                drop(job)

    def check_free(self, domain: str) -> None:
        """Raise `DomainBusy` while the domain has a job."""
        if domain in self._taken:
            raise DomainBusy(
                f"domain {domain!r} is being registered by job {self._taken[domain]};"
                " try again when that is done, or cancel it"
            )

    def keep(self, domain: str, job: str) -> None:
        """Hold a domain until `release`."""
        self._taken[domain] = job

    def release(self, domain: str, job: str) -> None:
        """The job is done with the domain."""
        if self._taken.get(domain) == job:
            del self._taken[domain]
