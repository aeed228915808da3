"""Keys and their rights. A file or a variable holds only digests of the keys; the service never writes them."""

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
    """The keys cannot be read. The message says where the error is and never shows a key."""


class Scope(StrEnum):
    """The rights of a key. With either scope a key can list, show and search domains.

    With `caption` it can caption recordings. With `admin` it can register, export and remove domains, and follow and
    cancel jobs.
    """

    caption = "caption"
    admin = "admin"


class Key(BaseModel):
    """A stored key.

    Attributes:
        name: name in logs and metrics.
        digest: ``sha256:`` and the hex digest of the key. A key has 256 random bits, so a fast hash suffices.
        scopes: rights of the key; no scope implies another.
        domains: domains that the key may use; None for all.
        requests_per_minute: largest rate; None for no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    digest: str = Field(pattern=_DIGEST)
    scopes: frozenset[Scope] = Field(min_length=1)
    domains: frozenset[str] | None = None
    requests_per_minute: float | None = Field(default=None, gt=0)

    def reaches(self, domain: str) -> bool:
        """Return whether the key may use this domain."""
        return self.domains is None or domain in self.domains


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Key] = Field(min_length=1)


class Keyring:
    """The keys of a service.

    Attributes:
        keys: the keys, in order.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        """Raises `KeysError` if two keys have the same name or digest."""
        for what in ("name", "digest"):
            values = [getattr(key, what) for key in keys]
            doubled = {value for value in values if values.count(value) > 1}
            if doubled:
                raise KeysError(f"two keys have the same {what}: {', '.join(sorted(doubled))}")
        self.keys = tuple(keys)

    def find(self, presented: str) -> Key | None:
        """Return the presented key, or None if it is unknown.

        The digest is compared with each key in constant time, so the duration reveals nothing about the secrets.
        """
        digest = digest_of(presented)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    @classmethod
    def parse(cls, text: str, where: str) -> "Keyring":
        """Parse ``{"keys": [...]}`` as JSON. Raises `KeysError`, which names `where`."""
        try:
            return cls(_KeyFile.model_validate(json.loads(text)).keys)
        except ValidationError as error:
            # The message omits the input, because someone may have put a key in the place of its digest.
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
    """Return the digest that is stored for a key."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key() -> str:
    """Return a new random key."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
