"""Builds a version in the embedded engine."""

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import qdrant_edge as engine

from datastores.base import FloatArray
from datastores.edge.index import CaptionIndex, first_bits
from datastores.edge.version import CAPTION, INDEX, SHARD, VECTORS, engine_errors

# Larger ones are slower: the lists of floats that the engine takes fall out of the processor's cache.
_CHUNK = 256


class VersionBuild:
    """Writes a shard and, beside it, the same vectors as one file of float32 rows, row = point id.

    The second copy is for reading: the engine hands vectors to Python as lists of floats, so the 512
    nearest of 20,000 x 384 took 38 ms with vectors from the engine, 5 ms with rows of the mapped file.
    """

    def __init__(self, folder: Path, dimension: int, hint: str) -> None:
        """`hint` ends the message of an error."""
        self.folder = folder
        self._count = 0
        self._errors = partial(engine_errors, folder, hint)
        # The dot product of unit vectors is their cosine, and the engine stores the vectors unchanged. After a kill
        # the whole folder is removed, so a write-ahead log would protect nothing.
        config = engine.EdgeConfig(
            vectors=engine.EdgeVectorParams(size=dimension, distance=engine.Distance.Dot), wal_enabled=False
        )
        with self._errors("making a shard"):
            (folder / SHARD).mkdir()
            self._shard = engine.EdgeShard.create(str(folder / SHARD), config)
            self._rows = (folder / VECTORS).open("wb")

    def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """Store captions [n] with their unit vectors [n, d] in float32, as the next rows."""
        with self._errors("storing captions"):
            for start in range(0, len(captions), _CHUNK):
                self._store(captions[start : start + _CHUNK], vectors[start : start + _CHUNK])

    def finish(self, digests: bytes | bytearray) -> None:
        """Write everything to the files, with an index of the captions' digests, and close them."""
        with self._errors("writing captions"):
            self._shard.flush()
            self._shard.close()
            self._rows.close()
            CaptionIndex.of(first_bits(digests)).write(self.folder / INDEX)

    def abandon(self) -> None:
        """Close the files in any state."""
        self._rows.close()
        with contextlib.suppress(Exception):
            self._shard.close()

    def _store(self, captions: Sequence[str], vectors: FloatArray) -> None:
        points = [
            engine.Point(self._count + row, vector, {CAPTION: caption})
            for row, (caption, vector) in enumerate(zip(captions, vectors.tolist(), strict=True))
        ]
        self._shard.update(engine.UpdateOperation.upsert_points(points))
        self._rows.write(np.ascontiguousarray(vectors).tobytes())
        self._count += len(captions)
