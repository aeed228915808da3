"""Domain finder: finds the version of a domain that a request uses until its end."""

from datastores.base import DomainStore, DomainVersion, FingerprintMismatch
from service.auth.guard import Caller
from service.errors import BadField, UnknownDomain


class DomainFinder:
    """Finds domains that the CLAP of the service has embedded."""

    def __init__(self, store: DomainStore, fingerprint: str) -> None:
        """
        Args:
            store: the datastore with the domains.
            fingerprint: fingerprint of the CLAP of the service.
        """
        self._store = store
        self._fingerprint = fingerprint

    async def resolve(self, name: str) -> DomainVersion:
        """Return the serving version of a domain.

        Raises:
            DomainNotFound, InvalidDomainName: from the datastore.
            FingerprintMismatch: another CLAP has embedded the domain.
        """
        version = await self._store.resolve(name)
        if version.fingerprint != self._fingerprint:
            raise FingerprintMismatch(
                f"domain {name!r} was embedded by {version.fingerprint!r}, but the service runs {self._fingerprint!r};"
                " register the domain again"
            )
        return version

    async def find(self, name: str | None, caller: Caller) -> DomainVersion:
        """Return the serving version of a domain. Without a name, take the only domain that the caller may use.

        Raises:
            BadField: the name is missing, and there are several domains.
            UnknownDomain: the name is missing, and there is no domain.
            Forbidden: the key of the caller is not for the domain.
            DomainNotFound, InvalidDomainName, FingerprintMismatch: see `resolve`.
        """
        name = name or await self._only(caller)
        caller.check_reaches(name)
        return await self.resolve(name)

    async def _only(self, caller: Caller) -> str:
        names = [version.domain for version in await self._store.list() if caller.reaches(version.domain)]
        if not names:
            raise UnknownDomain("no domain is registered yet; PUT /domains/{name} registers one")
        if len(names) > 1:
            raise BadField(f"domain: is required, because there are several domains: {', '.join(names)}")
        return names[0]
