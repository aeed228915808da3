"""Keys: who may ask what. Only their digests are kept, in a file or a variable; the service never writes them."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "drcap_"
_SECRET_BYTES = 32
_DIGEST = r"^sha256:[0-9a-f]{64}$"


class KeysError(ValueError):
    """Keys that cannot be read; the message says where they are wrong and never shows one."""


class Scope(StrEnum):
    """What a key is for; with either, domains are listed, shown and searched.

    `caption` captions recordings. `admin` registers, exports and removes domains, and follows and cancels jobs.
    """

    caption = "caption"
    admin = "admin"


class Key(BaseModel):
    """One key as it is stored.

    Attributes:
        name: for logs and metrics.
        digest: ``sha256:`` and the hex digest of the key. A key has 256 random bits, so nothing slower is needed.
        scopes: what it may do; none implies another.
        domains: the only domains it reaches; None for all.
        requests_per_minute: None for as many as the service takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    digest: str = Field(pattern=_DIGEST)
    scopes: frozenset[Scope] = Field(min_length=1)
    domains: frozenset[str] | None = None
    requests_per_minute: float | None = Field(default=None, gt=0)

    def reaches(self, domain: str) -> bool:
        """Whether the key is for this domain too."""
        return self.domains is None or domain in self.domains


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Key] = Field(min_length=1)


class Keyring:
    """The keys of a service.

    Attributes:
        keys: each of them, in order.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        """Raises `KeysError` for two keys of one name or one digest."""
        for what in ("name", "digest"):
            values = [getattr(key, what) for key in keys]
            doubled = {value for value in values if values.count(value) > 1}
            if doubled:
                raise KeysError(f"two keys have the same {what}: {', '.join(sorted(doubled))}")
        self.keys = tuple(keys)

    def find(self, presented: str) -> Key | None:
        """The key that was presented, or None.

        Compares digests, in constant time and with every key: how long it takes says nothing of the secrets.
        """
        digest = digest_of(presented)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    @classmethod
    def parse(cls, text: str, where: str) -> "Keyring":
        """``{"keys": [...]}`` as JSON. Raises `KeysError`, naming `where`."""
        try:
            return cls(_KeyFile.model_validate(json.loads(text)).keys)
        except ValidationError as error:
            # The input is left out: somebody may have put the key itself where its digest belongs.
            problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise KeysError(f"{where}: {problems}") from None
        except ValueError as error:
            raise KeysError(f"{where}: {error}") from None

    @classmethod
    def from_file(cls, path: Path) -> "Keyring":
        """Read a file of keys. Raises `KeysError`."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise KeysError(f"the keys in {path} cannot be read: {error}") from error


def digest_of(key: str) -> str:
    """What is stored of a key."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key() -> str:
    """A key nobody has seen."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
