"""Job slots: one registration per domain at a time, and a limited number in total."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from datastores.base import DomainBusy
from service.errors import Overloaded
from service.rates import RETRY_AFTER_SECONDS
from service.settings import Settings, variable_name


class JobSlots:
    """The domains with a registration that is uploading, waiting or running, each with the id of its job."""

    def __init__(self, settings: Settings, drop_upload: Callable[[str], None]) -> None:
        """
        Args:
            settings: settings of the service, which limit the number of registrations.
            drop_upload: removes the upload of the job with this id.
        """
        self._drop_upload = drop_upload
        self._limit = settings.admission.registrations + settings.jobs.waiting
        self._taken: dict[str, str] = {}

    @contextmanager
    def reserve(self, domain: str) -> Iterator[str]:
        """Hold a domain while its corpus is uploaded. Yields the id of the future job.

        At the end, unless `keep` has been called, the domain is free again and the upload is dropped.

        Raises:
            DomainBusy: the domain has a job.
            Overloaded: the number of jobs is at its limit.
        """
        self.check_free(domain)
        if len(self._taken) >= self._limit:
            raise Overloaded(
                f"{len(self._taken)} registrations are under way or waiting, which is the limit"
                f" ({variable_name('admission', 'registrations')} and {variable_name('jobs', 'waiting')})",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        job = secrets.token_hex(8)
        uploading = f"{job} (uploading)"
        self._taken[domain] = uploading
        try:
            yield job
        finally:
            if self._taken.get(domain) == uploading:
                del self._taken[domain]
                self._drop_upload(job)

    def check_free(self, domain: str) -> None:
        """Raise `DomainBusy` while the domain has a job."""
        if domain in self._taken:
            raise DomainBusy(
                f"job {self._taken[domain]} is registering domain {domain!r};"
                " try again when it has finished, or cancel it"
            )

    def keep(self, domain: str, job: str) -> None:
        """Hold a domain until `release`."""
        self._taken[domain] = job

    def release(self, domain: str, job: str) -> None:
        """Free the domain that a job holds."""
        if self._taken.get(domain) == job:
            del self._taken[domain]
