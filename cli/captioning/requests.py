"""Requests captions, one request a recording, and waits for a service that is busy or restarting."""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import httpx

from cli.captioning.patience import Gate, retry_after
from cli.common.client import problem_of
from cli.common.errors import CommandError
from cli.common.recordings import RecordingFile
from service.settings import variable_name

BUSY_SECONDS = 600.0
"""Seconds that a service may refuse every request before the command gives up."""
AWAY_SECONDS = 60.0
"""Seconds that a service which answered before may be unreachable."""
REQUEST_SECONDS = 900.0
"""Seconds for one answer; more than the service's default deadline for its longest recording."""

_AWAY_WAIT = 2.0
_CHUNK = 1 << 20
# These concern the request, not the recording, so every recording would get the same answer.
_OF_EVERY_RECORDING = frozenset({400, 401, 403, 404, 405, 409})
_LATER = frozenset({429, 502, 503})
_MODEL_FAILED = "urn:drcap:problem:model-failed"
# Tries of a recording if a model or the connection fails, since another recording may be the cause.
_TRIES = 3
_LIFE_SECONDS = 5.0
_MEDIA_TYPES = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


class NotCaptioned(Exception):
    """This recording cannot be captioned, though others may be; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """The result for one recording.

    Attributes:
        at: its place among the recordings, from 0.
        recording: the recording.
        body: the answer; empty if there is an error.
        error: why there is no caption, on one line.
    """

    at: int
    recording: RecordingFile
    body: bytes = b""
    error: str | None = None


class CaptionClient:
    """Sends recordings to ``POST /caption``. All requests wait together while the service is busy."""

    def __init__(
        self, client: httpx.AsyncClient, fields: Mapping[str, str], note: Callable[[str], None] = lambda _: None
    ) -> None:
        """
        Args:
            client: of the service.
            fields: of every request, including `response_format`.
            note: receives the reason of a wait, and an empty string at its end.
        """
        self._client = client
        self._fields = dict(fields)
        self._expected = _MEDIA_TYPES.get(fields["response_format"], "application/json")
        self._gate = Gate(note)
        self._reached = False
        self._under_way = 0

    async def ask(self, recording: RecordingFile) -> bytes:
        """Return the answer for one recording.

        Raises:
            NotCaptioned: the recording cannot be read or captioned.
            CommandError: no recording can be captioned: the request is wrong, or the service is busy or away for too
                long.
            httpx.TransportError: the service never answered.
        """
        with _opened(recording) as (source, size):
            failed = broken = 0
            while True:
                await self._gate.passed()
                try:
                    answer = await self._post(source, size)
                except httpx.ReadTimeout as error:
                    raise NotCaptioned(f"there was no answer within {REQUEST_SECONDS:g} s") from error
                except httpx.TransportError as error:
                    broken += not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                    await self._look_after(error, broken, size)
                    continue
                except OSError as error:
                    raise NotCaptioned(f"cannot be read: {error.strerror or error}") from error
                self._reached = True
                if answer.status_code not in _LATER:
                    self._gate.open()
                    return self._checked(answer)
                failed += _problem_type(answer) == _MODEL_FAILED
                if failed >= _TRIES:
                    raise NotCaptioned(problem_of(answer))
                self._wait(retry_after(answer), BUSY_SECONDS, f"the service is busy: {problem_of(answer)}")

    async def _look_after(self, error: httpx.TransportError, broken: int, size: int) -> None:
        """Decide whether to try again, and wait if the service is away. Raises the same errors as `ask`."""
        if broken and await self._lives():
            self._reached = True
        elif not self._reached:
            raise error
        else:
            self._wait(_AWAY_WAIT, AWAY_SECONDS, f"the service is away: {str(error) or type(error).__name__}")
        if broken >= _TRIES:
            # A service that refuses a body by its length closes the connection during the upload.
            limit = variable_name("audio", "max_bytes")
            raise NotCaptioned(
                f"the service closed the connection while {size:,} bytes were sent; its {limit} may allow fewer"
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
            raise NotCaptioned(problem_of(answer))
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if media_type != self._expected:
            raise CommandError(
                f"{answer.url.copy_with(query=None)} answered {media_type or 'something'} instead of"
                f" {self._expected}: is that a drcap service?"
            )
        return answer.content


async def captioned(
    recordings: Sequence[RecordingFile], service: CaptionClient, parallel: int
) -> AsyncGenerator[Outcome]:
    """Yield the outcome of each recording as soon as it is known, with at most `parallel` requests at a time.

    An error that concerns every recording is raised as from `CaptionClient.ask`, and cancels the other requests.
    """
    asked: set[asyncio.Task[Outcome]] = set()
    try:
        for at, recording in enumerate(recordings):
            if len(asked) >= parallel:
                done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                # Outcomes come before an error that ends the run.
                for task in sorted(done, key=lambda one: one.exception() is not None):
                    yield task.result()
            asked.add(asyncio.create_task(_outcome(at, recording, service)))
        for each in asyncio.as_completed(tuple(asked)):
            yield await each
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _outcome(at: int, recording: RecordingFile, service: CaptionClient) -> Outcome:
    try:
        return Outcome(at, recording, await service.ask(recording))
    except NotCaptioned as error:
        return Outcome(at, recording, error=str(error))


@contextmanager
def _opened(recording: RecordingFile) -> Iterator[tuple[BinaryIO, int]]:
    """Yield the bytes and their number. Raises `NotCaptioned`."""
    if recording.problem is not None:
        raise NotCaptioned(recording.problem)
    if recording.data is not None:
        yield io.BytesIO(recording.data), len(recording.data)
        return
    try:
        source = recording.path.open("rb")
    except OSError as error:
        raise NotCaptioned(f"cannot be read: {error.strerror}") from error
    with source:
        yield source, os.fstat(source.fileno()).st_size


async def _chunks(source: BinaryIO, size: int) -> AsyncIterator[bytes]:
    source.seek(0)
    while size:
        data = await asyncio.to_thread(source.read, min(_CHUNK, size))
        if not data:
            raise OSError("it became shorter during the upload")
        size -= len(data)
        yield data


def _problem_type(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["type"])
    except (ValueError, KeyError, TypeError):
        return ""
