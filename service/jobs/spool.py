"""Uploads on disk: a corpus becomes a file as it arrives, so that its size is no matter of memory."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from service.errors import BadField, ClientGone, JobsFolderFailed
from service.http.uploads import FIELD, check_coding, media_type_of
from service.monitoring.tracing import span
from service.settings import variable_name

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Spooled:
    """What was said of an upload that is now a file of `size` bytes; the strings are empty where nothing was."""

    media_type: str
    filename: str
    size: int


async def spool(request: Request, path: Path) -> Spooled:
    """Write the request's body, or the file of its form, to a new file as it arrives, durably.

    In memory is at most a megabyte of it. Nothing is left of an upload that fails.

    Raises:
        BadField: a form without a file in ``file``, or with anything else in it; a content coding other than gzip.
        ClientGone: the client left in the middle.
        JobsFolderFailed: the file cannot be written.
    """
    try:
        media_type = media_type_of(request.headers.get("content-type", ""))
        check_coding(request.headers.get("content-encoding", ""), media_type)
        with span("upload"):
            if media_type != "multipart/form-data":
                return Spooled(media_type, "", await _write(path, request.stream()))
            async with request.form(max_files=1, max_fields=1) as form:
                file = _only_file(form.multi_items())
                return Spooled(
                    media_type_of(file.content_type or ""), file.filename or "", await _write(path, _parts(file))
                )
    except ClientDisconnect as error:
        raise ClientGone("the client left in the middle of the upload") from error


async def _write(path: Path, chunks: AsyncIterator[bytes]) -> int:
    with _new(path), await asyncio.to_thread(path.open, "xb") as file:
        pending, size = bytearray(), 0
        async for chunk in chunks:
            pending += chunk
            size += len(chunk)
            if len(pending) >= _CHUNK:
                await asyncio.to_thread(file.write, pending)
                pending = bytearray()
        await asyncio.to_thread(_finish, file, pending)
        return size


@contextmanager
def _new(path: Path) -> Iterator[None]:
    """A file that is gone again when writing it fails."""
    try:
        yield
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise JobsFolderFailed(
                f"the upload cannot be kept: {error.strerror} ({variable_name('jobs', 'path')})", {"Retry-After": "30"}
            ) from error
        raise


def _finish(file: io.BufferedWriter, rest: bytearray) -> None:
    file.write(rest)
    file.flush()
    os.fsync(file.fileno())


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    while part := await file.read(_CHUNK):
        yield part


def _only_file(items: list[tuple[str, UploadFile | str]]) -> UploadFile:
    for name, value in items:
        if name != FIELD:
            raise BadField(f"{name}: is not the field for a corpus; use {FIELD!r} and no other")
        if isinstance(value, str):
            raise BadField(f"{FIELD}: is a text, not a file; with curl write -F {FIELD}=@captions.txt")
        return value
    raise BadField(f"{FIELD}: is missing from the form")
