"""Finds the rows of a version that may hold a caption: sorted hashes of its captions, 12 bytes a row in a file."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datastores.checks import caption_digest

Hashes = NDArray[np.uint64]
Rows = NDArray[np.uint32]
_DIGEST_BYTES = 16
_HASH, _ROW = np.dtype("<u8"), np.dtype("<u4")


class CaptionIndex:
    """Finds candidate rows by a hash of 64 bits. Different captions may share a hash, so the caller compares texts."""

    def __init__(self, hashes: Hashes, rows: Rows) -> None:
        """`hashes` in ascending order, and the row of each."""
        self._hashes = hashes
        self._rows = rows

    @classmethod
    def of(cls, hashes: Hashes) -> "CaptionIndex":
        """The index of captions whose hashes are given in the order of their rows."""
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], order.astype(_ROW))

    @classmethod
    def read(cls, path: Path, captions: int) -> "CaptionIndex | None":
        """Map the file of `write`; None where it is missing or its size differs from `captions` rows."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return None
        if size != captions * (_HASH.itemsize + _ROW.itemsize):
            return None
        hashes = np.memmap(path, _HASH, "r", shape=(captions,))
        rows = np.memmap(path, _ROW, "r", offset=captions * _HASH.itemsize, shape=(captions,))
        return cls(hashes, rows)

    def write(self, path: Path) -> None:
        """All hashes, then all rows, little endian."""
        with path.open("wb") as file:
            file.write(self._hashes.astype(_HASH).tobytes())
            file.write(self._rows.astype(_ROW).tobytes())

    def candidates(self, hashes: Hashes) -> tuple[NDArray[np.int64], Rows]:
        """Every pair of (position in `hashes`, row) of equal hash, as two arrays."""
        first = np.searchsorted(self._hashes, hashes, side="left")
        counts = np.searchsorted(self._hashes, hashes, side="right") - first
        asked = np.repeat(np.arange(len(hashes)), counts)
        within = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)
        return asked, np.asarray(self._rows[first[asked] + within])


def hashes_of(captions: Iterable[str]) -> Hashes:
    """The first 64 bits of each caption's digest."""
    return first_bits(b"".join(map(caption_digest, captions)))


def first_bits(digests: bytes | bytearray) -> Hashes:
    """The first 64 bits of each digest in a string of digests."""
    words = np.frombuffer(digests, _HASH)
    return np.ascontiguousarray(words[:: _DIGEST_BYTES // _HASH.itemsize])
