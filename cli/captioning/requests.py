"""Asks a service for captions: one request a recording, with patience for a service that is busy or being restarted."""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import httpx

from cli.captioning.patience import Gate, retry_after
from cli.captioning.recordings import Recording
from cli.common.client import problem_of
from cli.common.errors import CommandError
from service.settings import variable_name

BUSY_SECONDS = 600.0
"""For how long a service may let nothing in before the command gives up."""
AWAY_SECONDS = 60.0
"""For how long a service that answered before may be gone."""
REQUEST_SECONDS = 900.0
"""For one answer; above what the service gives the longest recording by default."""

_AWAY_WAIT = 2.0
_CHUNK = 1 << 20
# What is said of the request and not of the recording would be said of every recording.
_OF_EVERY_RECORDING = frozenset({400, 401, 403, 404, 405, 409})
_LATER = frozenset({429, 502, 503})
_MODEL_FAILED = "urn:drcap:problem:model-failed"
# Of a recording at which a model or the connection failed: it may have been that of another one.
_TRIES = 3
_LIFE_SECONDS = 5.0
_MEDIA_TYPES = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


class Refused(Exception):
    """This recording cannot be captioned; the message says why. Others may be."""


@dataclass(frozen=True)
class Outcome:
    """What became of one recording.

    Attributes:
        at: its place among the recordings.
        recording: the recording.
        body: the answer, empty where there is an error.
        error: why there is no caption, on one line.
    """

    at: int
    recording: Recording
    body: bytes = b""
    error: str | None = None


class Asker:
    """Sends recordings to ``POST /caption``; all wait together while the service is busy."""

    def __init__(
        self, client: httpx.AsyncClient, fields: Mapping[str, str], note: Callable[[str], None] = lambda _: None
    ) -> None:
        """
        Args:
            client: of the service.
            fields: of every request, among them `response_format`.
            note: is told what is waited for, and an empty string when the wait is over.
        """
        self._client = client
        self._fields = dict(fields)
        self._expected = _MEDIA_TYPES.get(fields["response_format"], "application/json")
        self._gate = Gate(note)
        self._reached = False
        self._under_way = 0

    async def ask(self, recording: Recording) -> bytes:
        """The answer for one recording.

        Raises:
            Refused: the recording cannot be read or captioned.
            CommandError: no recording can be: the request is wrong, or the service busy or gone for too long.
            httpx.TransportError: nothing ever answered.
        """
        with _opened(recording) as (source, size):
            failed = broken = 0
            while True:
                await self._gate.passed()
                try:
                    answer = await self._post(source, size)
                except httpx.ReadTimeout as error:
                    raise Refused(f"there was no answer within {REQUEST_SECONDS:g} s") from error
                except httpx.TransportError as error:
                    broken += not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                    await self._look_after(error, broken, size)
                    continue
                except OSError as error:
                    raise Refused(f"cannot be read: {error.strerror or error}") from error
                self._reached = True
                if answer.status_code not in _LATER:
                    self._gate.open()
                    return self._checked(answer)
                failed += _problem_type(answer) == _MODEL_FAILED
                if failed >= _TRIES:
                    raise Refused(problem_of(answer))
                self._wait(retry_after(answer), BUSY_SECONDS, f"the service is busy: {problem_of(answer)}")

    async def _look_after(self, error: httpx.TransportError, broken: int, size: int) -> None:
        """See whether it makes sense to try again, and wait if the service is gone. Raises as `ask`."""
        if broken and await self._lives():
            self._reached = True
        elif not self._reached:
            raise error
        else:
            self._wait(_AWAY_WAIT, AWAY_SECONDS, f"the service is gone: {str(error) or type(error).__name__}")
        if broken >= _TRIES:
            # A service that refuses a body by its length closes the connection before all of it is sent.
            limit = variable_name("audio", "max_bytes")
            raise Refused(
                f"the service broke off while {size:,} bytes were sent; its {limit} may allow fewer"
            ) from error

    async def _lives(self) -> bool:
        try:
            await self._client.get("/livez", timeout=_LIFE_SECONDS)
        except httpx.TransportError:
            return False
        return True

    async def _post(self, source: BinaryIO, size: int) -> httpx.Response:
        self._under_way += 1
        try:
            return await self._client.post(
                "/caption",
                params=self._fields,
                content=_chunks(source, size),
                headers={"Content-Length": str(size)},
            )
        finally:
            self._under_way -= 1

    def _wait(self, seconds: float, bound: float, why: str) -> None:
        self._gate.close(seconds, bound, why, last=not self._under_way)

    def _checked(self, answer: httpx.Response) -> bytes:
        status = answer.status_code
        if status in _OF_EVERY_RECORDING or 300 <= status < 400:
            raise CommandError(problem_of(answer))
        if not answer.is_success:
            raise Refused(problem_of(answer))
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if media_type != self._expected:
            raise CommandError(
                f"{answer.url.copy_with(query=None)} answered {media_type or 'something'} in the place of"
                f" {self._expected}: is that a service of drcap?"
            )
        return answer.content


async def captioned(recordings: Sequence[Recording], asker: Asker, parallel: int) -> AsyncGenerator[Outcome]:
    """What becomes of each recording, as it is known; at most `parallel` are asked for at a time.

    What ends the asking is raised as from `Asker.ask`, and cancels the requests under way.
    """
    asked: set[asyncio.Task[Outcome]] = set()
    try:
        for at, recording in enumerate(recordings):
            if len(asked) >= parallel:
                done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                # What is known is told before it ends with what was raised.
                for task in sorted(done, key=lambda one: one.exception() is not None):
                    yield task.result()
            asked.add(asyncio.create_task(_outcome(at, recording, asker)))
        for each in asyncio.as_completed(tuple(asked)):
            yield await each
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _outcome(at: int, recording: Recording, asker: Asker) -> Outcome:
    try:
        return Outcome(at, recording, await asker.ask(recording))
    except Refused as error:
        return Outcome(at, recording, error=str(error))


@contextmanager
def _opened(recording: Recording) -> Iterator[tuple[BinaryIO, int]]:
    """The bytes and how many there are. Raises `Refused`."""
    if recording.problem is not None:
        raise Refused(recording.problem)
    if recording.data is not None:
        yield io.BytesIO(recording.data), len(recording.data)
        return
    try:
        source = recording.path.open("rb")
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from error
    with source:
        yield source, os.fstat(source.fileno()).st_size


async def _chunks(source: BinaryIO, size: int) -> AsyncIterator[bytes]:
    source.seek(0)
    while size:
        data = await asyncio.to_thread(source.read, min(_CHUNK, size))
        if not data:
            raise OSError("it became shorter meanwhile")
        size -= len(data)
        yield data


def _problem_type(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["type"])
    except (ValueError, KeyError, TypeError):
        return ""
