"""The bytes of a corpus: unpacked where they are gzip, counted, bounded, and cut into numbered lines."""

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
# As bytes of a line they cannot be UTF-8, save for the last, which nobody begins a caption with.
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
    """How far a source was read: `bytes_read` of it as it was sent, so packed where it is packed."""

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
    """The bytes of `file`, up to a limit; what is wrong with gzip becomes a `CorpusError`."""

    def __init__(self, file: _Readable, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
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
                f"the corpus has more than {self._max_bytes:,} bytes once unpacked (DRCAP_CORPUS__MAX_UNPACKED_BYTES)",
                "too-long",
            )
        buffer[: len(data)] = data
        return len(data)


def unpack(file: BinaryIO, max_bytes: int, meter: Meter) -> io.BufferedReader:
    """A reader of `file`, through gzip if it begins like gzip, whatever its name; `file` stays open.

    Memory is bounded by a few buffers, whatever the gzip unpacks to.

    Raises:
        CorpusError: while reading: the gzip is cut off or damaged, or there are more than `max_bytes` once unpacked.
    """
    packed = io.BufferedReader(_Counted(file, meter), HEAD_BYTES)
    is_gzip = packed.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    whole: _Readable = gzip.GzipFile(fileobj=packed) if is_gzip else packed
    return io.BufferedReader(_Unpacked(whole, max_bytes), HEAD_BYTES)


class Lines(Iterator[str | CorpusError]):
    """The lines of a text, or in place of one what is wrong with it.

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
    """Raises `CorpusError` for what no line of can be read as text, and says how to save it."""
    for magic, message in _NOT_UTF8_TEXT.items():
        if head.startswith(magic):
            raise CorpusError(f"{message}; {_SAVE_AS}", "encoding")


def not_utf8(byte: int, position: int, line: int) -> CorpusError:
    """The error for a byte, its place in the line from 1, and the line."""
    return CorpusError(f"byte {position} (0x{byte:02x}) is not UTF-8; {_SAVE_AS}", "encoding", line)
