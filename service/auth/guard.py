"""The guard: checks keys, their scopes, domains and rates. It does not depend on how a client sends its key."""

import ipaddress
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from service.auth.key_watch import KeyWatch, watched
from service.auth.keys import Key, Keyring, KeysError, Scope
from service.errors import Forbidden, NotAuthenticated, RateExceeded
from service.monitoring.metrics import Metrics
from service.rates import Clock, TokenBuckets
from service.settings import AuthSettings, Settings, SettingsError, variable_name

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the owner of a key, or anyone if the service has no keys."""

    key: Key | None

    def reaches(self, domain: str) -> bool:
        """Return whether the caller may use a domain."""
        return self.key is None or self.key.reaches(domain)

    def check_reaches(self, domain: str) -> None:
        """Raise `Forbidden` if the caller may not use a domain, whether or not the domain exists."""
        if self.key is not None and not self.key.reaches(domain):
            raise Forbidden(f"the key {self.key.name!r} may not use the domain {domain!r}")


class Guard:
    """Admits callers: finds the key, checks its scope, and counts the request towards its rate."""

    def __init__(self, keyring: Keyring | None, clock: Clock = time.monotonic) -> None:
        """
        Args:
            keyring: the keys; None if anyone may do everything.
            clock: returns monotonic seconds.
        """
        self._keyring = keyring
        self._buckets = TokenBuckets(clock)

    def take_over(self, keyring: Keyring) -> None:
        """Replace the keys from the next request on. Works from any thread."""
        self._keyring = keyring

    def identify(self, presented: str | None) -> Caller:
        """Return the caller with the presented key. Raises `NotAuthenticated`."""
        keyring = self._keyring
        if keyring is None:
            return Caller(None)
        if not presented:
            raise NotAuthenticated("a key is required, as Authorization: Bearer KEY or as X-API-Key: KEY", _CHALLENGE)
        key = keyring.find(presented)
        if key is None:
            raise NotAuthenticated("unknown key", _CHALLENGE)
        return Caller(key)

    def check_scope(self, caller: Caller, scopes: frozenset[Scope]) -> None:
        """Raise `Forbidden` unless the key has one of the scopes."""
        if caller.key is not None and not caller.key.scopes & scopes:
            needed = " or ".join(sorted(scopes))
            raise Forbidden(f"the key {caller.key.name!r} lacks the scope {needed}")

    def take(self, caller: Caller) -> None:
        """Count a request of a key. Raises `RateExceeded` with the seconds until the next request is allowed.

        The bucket of a key holds the requests of one minute and fills steadily.
        """
        key = caller.key
        if key is None or key.requests_per_minute is None:
            return
        a_minute = key.requests_per_minute
        seconds = self._buckets.take(key.name, per_second=a_minute / 60, burst=max(1.0, a_minute))
        if seconds > 0:
            raise RateExceeded(
                f"the key {key.name!r} allows {a_minute:g} requests per minute",
                {"Retry-After": str(math.ceil(seconds))},
            )


def load_keyring(settings: AuthSettings) -> Keyring | None:
    """Load the keys from the settings; None if there are none. `SettingsError` names the file or the setting."""
    try:
        if settings.keys_file is not None:
            return Keyring.from_file(settings.keys_file)
        if settings.keys is not None:
            return Keyring.parse(settings.keys.get_secret_value(), variable_name("auth", "keys"))
    except KeysError as error:
        raise SettingsError(str(error)) from None
    return None


def watching_keys(
    settings: AuthSettings, keyring: Keyring | None, guard: Guard, metrics: Metrics
) -> AbstractContextManager[None]:
    """Pass changes in the file of keys to the guard during the block, if the settings name a file."""
    if settings.keys_file is None or keyring is None:
        return nullcontext()
    return watched(KeyWatch(settings.keys_file, keyring, guard.take_over, metrics.set_keys_stale))


def check_exposure(settings: Settings) -> None:
    """Check that other machines can only connect if there are keys. `SettingsError` lists the remedies."""
    auth, host = settings.auth, settings.server.host
    if auth.open or auth.keys is not None or auth.keys_file is not None or is_loopback(host):
        return
    raise SettingsError(
        f"anyone who can connect to {host} could use the service: name a file of keys in"
        f" {variable_name('auth', 'keys_file')} (`drcap keys new` creates one),"
        f" or listen on 127.0.0.1 ({variable_name('server', 'host')}),"
        f" or serve without keys deliberately with {variable_name('auth', 'open')}=true"
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to a listening address. The only known host name is localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
