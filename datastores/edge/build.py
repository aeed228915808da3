"""A version of the embedded engine under construction."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import qdrant_edge as engine

from datastores.base import FloatArray
from datastores.checks import caption_digest, checked_vectors
from datastores.edge.index import CaptionIndex, first_bits
from datastores.edge.version import CAPTION, INDEX, SHARD, VECTORS, engine_errors

# Larger ones are slower: the lists of floats that the engine takes fall out of the processor's cache.
_CHUNK = 256
_SAMPLES = 8


class VersionBuild:
    """Writes a shard and, beside it, the same vectors as one file of float32 rows, row = point id.

    The second copy is for reading: the engine hands vectors to Python as lists of floats, so the 512
    nearest of 20,000 x 384 took 38 ms with vectors from the engine, 5 ms with rows of the mapped file.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self.count = 0
        self.samples: dict[int, str] = {}
        self.folder = folder
        self._dimension = dimension
        self._seen: set[bytes] = set()
        self._digests = bytearray()
        # Dot of unit vectors is their cosine, and leaves the stored vectors as they were given. A kill
        # throws the whole folder away, so a write-ahead log would protect nothing.
        config = engine.EdgeConfig(
            vectors=engine.EdgeVectorParams(size=dimension, distance=engine.Distance.Dot), wal_enabled=False
        )
        with engine_errors(folder, "making a shard"):
            (folder / SHARD).mkdir()
            self._shard = engine.EdgeShard.create(str(folder / SHARD), config)
            self._rows = (folder / VECTORS).open("wb")

    def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """Store what is new among the captions [n] with unit vectors [n, d]."""
        vectors = checked_vectors(captions, vectors, self._dimension)
        fresh = np.array([row for row, caption in enumerate(captions) if self._is_new(caption)], dtype=int)
        with engine_errors(self.folder, "storing captions"):
            for rows in (fresh[start : start + _CHUNK] for start in range(0, len(fresh), _CHUNK)):
                self._store([captions[row] for row in rows], vectors[rows])

    def finish(self) -> None:
        """Bring everything to the files and close them."""
        with engine_errors(self.folder, "writing captions"):
            self._shard.flush()
            self._shard.close()
            self._rows.close()
            CaptionIndex.of(first_bits(self._digests)).write(self.folder / INDEX)

    def abandon(self) -> None:
        """Close the files, whatever state they are in."""
        self._rows.close()
        with contextlib.suppress(Exception):
            self._shard.close()

    def _is_new(self, caption: str) -> bool:
        its = caption_digest(caption)
        if its in self._seen:
            return False
        self._seen.add(its)
        self._digests += its
        return True

    def _store(self, captions: list[str], vectors: FloatArray) -> None:
        points = [
            engine.Point(self.count + row, vector, {CAPTION: caption})
            for row, (caption, vector) in enumerate(zip(captions, vectors.tolist(), strict=True))
        ]
        self._shard.update(engine.UpdateOperation.upsert_points(points))
        self._rows.write(np.ascontiguousarray(vectors).tobytes())
        self.samples[self.count] = captions[0]
        self.samples[self.count + len(captions) - 1] = captions[-1]
        if len(self.samples) > 2 * _SAMPLES:
            self.samples = dict(list(self.samples.items())[::2])
        self.count += len(captions)
