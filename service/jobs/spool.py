"""Spools uploads to disk: a corpus is written to a file while it arrives, so memory does not limit its size."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.requests import Request

from service.errors import JobsFolderFailed
from service.http.uploads import FORM, media_type_of, parse_form, receiving
from service.settings import variable_name

_CHUNK = 1 << 20


@dataclass(frozen=True)
class SpooledUpload:
    """An upload that is now a file.

    Attributes:
        media_type: the stated media type, without parameters; empty if not stated.
        filename: the stated file name; empty for a raw body.
        size: bytes of the file.
    """

    media_type: str
    filename: str
    size: int


async def spool(request: Request, path: Path) -> SpooledUpload:
    """Write the body of the request, or the file in its form, durably to a new file while it arrives.

    Memory holds about a megabyte of it. A failed upload leaves no file behind.

    Raises:
        BadField: the form lacks a file in ``file`` or has other fields, or the content coding is not gzip.
        ClientGone: the client left during the upload.
        JobsFolderFailed: the file cannot be written.
    """
    async with receiving(request) as media_type:
        if media_type != FORM:
            return SpooledUpload(media_type, "", await _write(path, request.stream()))
        async with request.form(max_files=1, max_fields=1) as form:
            file = parse_form(form.multi_items(), "captions.txt").file
            size = await _write(path, _chunks(file))
            return SpooledUpload(media_type_of(file.content_type or ""), file.filename or "", size)


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
    """Remove the file if the block that writes it fails."""
    try:
        yield
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise JobsFolderFailed(
                f"the upload cannot be written: {error.strerror} ({variable_name('jobs', 'path')})",
                {"Retry-After": "30"},
            ) from error
        raise


def _finish(file: io.BufferedWriter, rest: bytearray) -> None:
    file.write(rest)
    file.flush()
    os.fsync(file.fileno())


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK):
        yield chunk
