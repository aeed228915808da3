"""Reads the bytes of a corpus: unpacks gzip, counts and bounds them, and cuts them into numbered lines."""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from datastores.corpus.error import CorpusError

HEAD_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
# A UTF-8 text cannot begin with the first two, and no caption begins with the last.
_NOT_UTF8_TEXT = {
    b"\xff\xfe": "it is UTF-16",
    b"\xfe\xff": "it is UTF-16",
    b"PK\x03\x04": "it is a workbook or a zip archive",
}
_SAVE_AS = "save it as UTF-8 (a spreadsheet: as 'CSV UTF-8'; an editor: 'save as', encoding UTF-8)"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass
class Meter:
    """Counts the bytes read of a source as it was sent, before unpacking."""

    bytes_read: int = 0


class _Counted(io.RawIOBase):
    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._meter.bytes_read += len(data)
        return len(data)


class _Unpacked(io.RawIOBase):
    """The bytes of `file`, up to a limit; a damaged gzip raises `CorpusError`."""

    def __init__(self, file: _Readable, max_bytes: int, setting: str) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._setting = setting
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._file.read(len(buffer))
        except EOFError as error:
            raise CorpusError("the gzip stops before its end; send the whole file", "damaged") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise CorpusError(f"the gzip is damaged: {error}", "damaged") from error
        self._unpacked += len(data)
        if self._unpacked > self._max_bytes:
            raise CorpusError(
                f"the corpus has more than {self._max_bytes:,} bytes once unpacked ({self._setting})",
                "too-long",
            )
        buffer[: len(data)] = data
        return len(data)


def unpack(file: BinaryIO, max_bytes: int, setting: str, meter: Meter) -> io.BufferedReader:
    """Return a reader of `file` that unpacks it if it begins like gzip; `file` stays open.

    Memory is bounded by a few buffers, however large the unpacked corpus is.

    Args:
        file: the corpus as it was sent.
        max_bytes: of the corpus once unpacked.
        setting: the name of the setting of `max_bytes`; the error names it.
        meter: counts the bytes read of `file`.

    Raises:
        CorpusError: while reading, if the gzip is cut off or damaged, or there are more than `max_bytes` once unpacked.
    """
    packed = io.BufferedReader(_Counted(file, meter), HEAD_BYTES)
    is_gzip = packed.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    whole: _Readable = gzip.GzipFile(fileobj=packed) if is_gzip else packed
    return io.BufferedReader(_Unpacked(whole, max_bytes, setting), HEAD_BYTES)


class Lines(Iterator[str | CorpusError]):
    """Yields the lines of a text, or the error of a line in its place.

    Attributes:
        number: of the last line, from 1.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.number = 0

    def __next__(self) -> str | CorpusError:
        line = self._file.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = self._file.readline(MAX_LINE_BYTES)
            return CorpusError(f"it is longer than {MAX_LINE_BYTES:,} bytes", "too-long", self.number)
        try:
            return (line.removeprefix(BOM) if self.number == 1 else line).decode()
        except UnicodeDecodeError as error:
            return not_utf8(error.object[error.start], error.start + 1, self.number)


def refuse_other_encodings(head: bytes) -> None:
    """Raise `CorpusError` for a corpus that begins like UTF-16 or a workbook; the message says how to save it."""
    for magic, message in _NOT_UTF8_TEXT.items():
        if head.startswith(magic):
            raise CorpusError(f"{message}; {_SAVE_AS}", "encoding")


def not_utf8(byte: int, position: int, line: int) -> CorpusError:
    """The error for a byte at a position in a line; both count from 1."""
    return CorpusError(f"byte {position} (0x{byte:02x}) is not UTF-8; {_SAVE_AS}", "encoding", line)
