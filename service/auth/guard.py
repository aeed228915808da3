"""Who may ask what: keys, their scopes, domains and rates. Knows nothing of how a key is presented."""

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
    """Who asks: one of the keys, or anybody where there are none."""

    key: Key | None

    def reaches(self, domain: str) -> bool:
        """Whether the caller may use a domain."""
        return self.key is None or self.key.reaches(domain)

    def check_reaches(self, domain: str) -> None:
        """Raises `Forbidden`, the same whether there is such a domain or not."""
        if self.key is not None and not self.key.reaches(domain):
            raise Forbidden(f"the key {self.key.name!r} is not for the domain {domain!r}")


class Guard:
    """Lets in who may: finds the key, checks its scope, and takes from its rate."""

    def __init__(self, keyring: Keyring | None, clock: Clock = time.monotonic) -> None:
        """
        Args:
            keyring: None lets everybody do everything.
            clock: monotonic seconds.
        """
        self._keyring = keyring
        self._buckets = TokenBuckets(clock)

    def take_over(self, keyring: Keyring) -> None:
        """Know these keys instead, from the next request on. From any thread."""
        self._keyring = keyring

    def identify(self, presented: str | None) -> Caller:
        """The caller who presents a key. Raises `NotAuthenticated`."""
        keyring = self._keyring
        if keyring is None:
            return Caller(None)
        if not presented:
            raise NotAuthenticated("a key is needed, as Authorization: Bearer KEY or as X-API-Key: KEY", _CHALLENGE)
        key = keyring.find(presented)
        if key is None:
            raise NotAuthenticated("this is none of the keys of this service", _CHALLENGE)
        return Caller(key)

    def check_scope(self, caller: Caller, scopes: frozenset[Scope]) -> None:
        """Raises `Forbidden` for a key with none of the scopes."""
        if caller.key is not None and not caller.key.scopes & scopes:
            needed = " or ".join(sorted(scopes))
            raise Forbidden(f"the key {caller.key.name!r} lacks the scope {needed}")

    def take(self, caller: Caller) -> None:
        """Count a request. Raises `RateExceeded` with the seconds until the key's bucket has one again.

        A bucket holds the requests of one minute and fills steadily.
        """
        key = caller.key
        if key is None or key.requests_per_minute is None:
            return
        a_minute = key.requests_per_minute
        seconds = self._buckets.take(key.name, per_second=a_minute / 60, burst=max(1.0, a_minute))
        if seconds > 0:
            raise RateExceeded(
                f"the key {key.name!r} is for {a_minute:g} requests a minute",
                {"Retry-After": str(math.ceil(seconds))},
            )


def load_keyring(settings: AuthSettings) -> Keyring | None:
    """The keys of the settings; None when there are none. Raises `SettingsError`, naming the file or the setting."""
    try:
        if settings.keys_file is not None:
            return Keyring.from_file(settings.keys_file)
        if settings.keys is not None:
            return Keyring.parse(settings.keys.get_secret_value(), variable_name("auth", "keys"))
    except KeysError as error:
        raise SettingsError(str(error)) from None
    return None


def following(
    settings: AuthSettings, keyring: Keyring | None, guard: Guard, metrics: Metrics
) -> AbstractContextManager[None]:
    """Meanwhile, the guard takes over what changes in the file of keys, where the settings name one."""
    if settings.keys_file is None or keyring is None:
        return nullcontext()
    return watched(KeyWatch(settings.keys_file, keyring, guard.take_over, metrics.set_keys_stale))


def check_exposure(settings: Settings) -> None:
    """Refuse to serve other machines without keys. Raises `SettingsError`, with the ways out."""
    auth, host = settings.auth, settings.server.host
    if auth.open or auth.keys is not None or auth.keys_file is not None or is_loopback(host):
        return
    raise SettingsError(
        f"anybody who reaches {host} could use the service: name its keys in {variable_name('auth', 'keys_file')}"
        f" (`drcap keys new` makes one), or listen on 127.0.0.1 ({variable_name('server', 'host')}),"
        f" or serve without keys on purpose with {variable_name('auth', 'open')}=true"
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only; other names than localhost are not known."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
