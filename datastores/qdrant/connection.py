"""Connects to a Qdrant server: one client to read and one to write, with retries and readable errors.

A failed call is tried again when the server may answer later (no connection, no answer in time, 429, 5xx), at
growing intervals and never beyond a bound. All calls of the datastore can be repeated: reads, and writes whose ids
and names are chosen before the first attempt.
"""

import asyncio
import itertools
import json
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from datastores.base import DatastoreUnavailable
from datastores.qdrant.config import QdrantConfig

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# The client's in-process mode raises the last three.
_CLIENT_ERRORS = (
    ApiException,
    QdrantException,
    httpx.HTTPError,
    OSError,
    AssertionError,
    ValueError,
    KeyError,
    RuntimeError,
)

T = TypeVar("T")
Call = Callable[[AsyncQdrantClient], Awaitable[T]]


class Missing(DatastoreUnavailable):
    """The collection or point does not exist."""


class ServerRefused(DatastoreUnavailable):
    """The server answered, and trying again would not help."""


class KeyRefused(ServerRefused):
    """The key is missing, is wrong or does not allow this."""


@dataclass(frozen=True)
class _Way:
    """A client, how long its calls may take and be tried again, and the fields of the configuration that say so."""

    client: AsyncQdrantClient
    limit: float
    retry: float
    limit_field: str
    key_field: str


@dataclass(frozen=True)
class _Failure:
    error: DatastoreUnavailable
    transient: bool = False
    pause: float = 0.0


class QdrantConnection:
    """Calls a server with the read or the write key; without two keys both are one client."""

    def __init__(self, config: QdrantConfig, client: AsyncQdrantClient | None = None) -> None:
        """Connects at the first call. `client` replaces the configured ones and is not closed."""
        self.config = config
        self.url = httpx.URL(config.url).copy_with(userinfo=b"")
        self._owned: list[AsyncQdrantClient] = []
        self._closed = False
        read, write = config.read_key or config.write_key, config.write_key or config.read_key
        reader = client or self._connect(read)
        writer = client or (reader if read == write else self._connect(write))
        self._reading = _Way(reader, config.timeout_seconds, config.retry_seconds, "timeout_seconds", "read_key")
        self._writing = _Way(writer, config.write_timeout_seconds, config.write_retry_seconds, "url", "write_key")

    async def read(self, doing: str, call: Call[T]) -> T:
        """Ask with the read key. Raises `Missing`, `KeyRefused`, `ServerRefused` or `DatastoreUnavailable`."""
        return await self._ask(self._reading, doing, call)

    async def write(self, doing: str, call: Call[T], *, patient: bool = True) -> T:
        """Ask with the write key; raises as `read` does. Without `patient` a failed call is not tried again."""
        return await self._ask(self._writing if patient else replace(self._writing, retry=0.0), doing, call)

    async def close(self) -> None:
        """Close the connections; a call then raises `DatastoreUnavailable`."""
        self._closed = True
        owned, self._owned = self._owned, []
        for client in owned:
            await client.close()

    async def _ask(self, way: _Way, doing: str, call: Call[T]) -> T:
        clock = asyncio.get_running_loop().time
        give_up = clock() + way.retry
        for attempt in itertools.count():
            if self._closed:
                raise DatastoreUnavailable("the datastore is closed")
            try:
                async with asyncio.timeout(way.limit):
                    return await call(way.client)
            except _CLIENT_ERRORS as error:
                failure, cause = self._judge(error, doing, way), error
            pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
            pause = max(pause, failure.pause)
            if not failure.transient or clock() + pause > give_up:
                raise failure.error from cause
            await asyncio.sleep(pause)
        raise AssertionError  # the loop has no end

    def _judge(self, error: Exception, doing: str, way: _Way) -> _Failure:
        setting = self.config.setting_of
        if isinstance(error, UnexpectedResponse):
            return self._judge_answer(error, doing, way.key_field)
        if isinstance(error, ResourceExhaustedResponse):
            words = f"asks for a pause of {error.retry_after_s} s while {doing}"
            return _Failure(self._unavailable(words), transient=True, pause=float(error.retry_after_s))
        source = error.source if isinstance(error, ResponseHandlingException) else error
        if isinstance(source, ValidationError):
            return _Failure(
                ServerRefused(f"{self.url} does not answer like a Qdrant server while {doing} ({setting('url')})")
            )
        if isinstance(source, KeyError) or (isinstance(source, ValueError) and "not found" in str(source)):
            return _Failure(Missing(f"{doing}: {source}"))
        if isinstance(source, ValueError):
            return _Failure(ServerRefused(f"{doing}: {source}"))
        if isinstance(source, TimeoutError | httpx.TimeoutException):
            words = f"did not answer within {way.limit:g} s while {doing} ({setting(way.limit_field)})"
            return _Failure(self._unavailable(words), transient=True)
        why = str(source) or type(source).__name__
        if "CERTIFICATE_VERIFY_FAILED" in why:
            words = f"the certificate of {self.url} is not trusted: {why} ({setting('ca_file')})"
            return _Failure(ServerRefused(words))
        return _Failure(self._unavailable(f"cannot be reached while {doing}: {why} ({setting('url')})"), transient=True)

    def _judge_answer(self, error: UnexpectedResponse, doing: str, key: str) -> _Failure:
        setting = self.config.setting_of
        status = error.status_code or 0
        said = f"answered {status} while {doing}: {_detail(error.content)}"
        if status in (401, 403):
            words = f"refused the key while {doing}, with {status} ({setting(key)})"
            return _Failure(KeyRefused(f"the Qdrant server at {self.url} {words}"))
        if status == 404:
            return _Failure(Missing(f"the Qdrant server at {self.url} {said}"))
        if status in _TRANSIENT:
            return _Failure(self._unavailable(f"{said} ({setting('url')})"), transient=True)
        return _Failure(ServerRefused(f"the Qdrant server at {self.url} {said}"))

    def _unavailable(self, words: str) -> DatastoreUnavailable:
        return DatastoreUnavailable(f"the Qdrant server at {self.url} {words}")

    def _connect(self, key: str | None) -> AsyncQdrantClient:
        client = AsyncQdrantClient(
            url=self.config.url,
            api_key=key,
            # `_ask` limits a call; this limit only ends a call that `_ask` has given up.
            timeout=int(max(self.config.timeout_seconds, self.config.write_timeout_seconds)) + 1,
            check_compatibility=False,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
            **self._tls(),
        )
        self._owned.append(client)
        return client

    def _tls(self) -> dict[str, Any]:
        if self.config.ca_file is None:
            return {}
        try:
            return {"verify": ssl.create_default_context(cafile=self.config.ca_file)}
        except OSError as error:
            raise DatastoreUnavailable(
                f"the certificates {self.config.ca_file} cannot be read: {error} ({self.config.setting_of('ca_file')})"
            ) from error


def _detail(content: bytes) -> str:
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace").strip() or "nothing"
