"""One version in the embedded engine: built once, then only read."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray

from datastores.base import (
    DatastoreError,
    DatastoreUnavailable,
    DomainVersion,
    FloatArray,
    Neighbour,
)
from datastores.catalog import PATH_SETTING

_CAPTION = "caption"
_SHARD = "shard"
_VECTORS = "vectors.f32"
_CHUNK = 1024
_SAMPLES = 8
_SELF_SIMILARITY = 0.999
_UNIT_TOLERANCE = 1e-3


@contextlib.contextmanager
def _engine(folder: Path, doing: str) -> Iterator[None]:
    """Turn whatever the engine or the disk fails with into `DatastoreUnavailable`."""
    try:
        yield
    except (DatastoreError, KeyboardInterrupt, SystemExit):
        raise
    # A panic of the engine (a full disk, say) is no Exception.
    except BaseException as error:
        raise DatastoreUnavailable(f"{doing} failed in {folder}: {error} ({PATH_SETTING})") from error


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
        # Dot of unit vectors is their cosine, and leaves the stored vectors as they were given. A kill
        # throws the whole folder away, so a write-ahead log would protect nothing.
        config = engine.EdgeConfig(
            vectors=engine.EdgeVectorParams(size=dimension, distance=engine.Distance.Dot), wal_enabled=False
        )
        with _engine(folder, "making a shard"):
            (folder / _SHARD).mkdir()
            self._shard = engine.EdgeShard.create(str(folder / _SHARD), config)
            self._rows = (folder / _VECTORS).open("wb")

    def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """Store what is new among the captions [n] with unit vectors [n, d]."""
        vectors = _checked(captions, vectors, self._dimension)
        fresh = np.array([row for row, caption in enumerate(captions) if self._is_new(caption)], dtype=int)
        with _engine(self.folder, "storing captions"):
            for rows in (fresh[start : start + _CHUNK] for start in range(0, len(fresh), _CHUNK)):
                self._store([captions[row] for row in rows], vectors[rows])

    def finish(self) -> None:
        """Bring everything to the files and close them."""
        with _engine(self.folder, "writing captions"):
            self._shard.flush()
            self._shard.close()
            self._rows.close()

    def abandon(self) -> None:
        """Close the files, whatever state they are in."""
        self._rows.close()
        with contextlib.suppress(Exception):
            self._shard.close()

    def _is_new(self, caption: str) -> bool:
        digest = hashlib.blake2b(caption.encode(), digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def _store(self, captions: list[str], vectors: FloatArray) -> None:
        points = [
            engine.Point(self.count + row, vector, {_CAPTION: caption})
            for row, (caption, vector) in enumerate(zip(captions, vectors.tolist(), strict=True))
        ]
        self._shard.update(engine.UpdateOperation.upsert_points(points))
        self._rows.write(np.ascontiguousarray(vectors).tobytes())
        self.samples[self.count] = captions[0]
        self.samples[self.count + len(captions) - 1] = captions[-1]
        if len(self.samples) > 2 * _SAMPLES:
            self.samples = dict(list(self.samples.items())[::2])
        self.count += len(captions)


class ServedVersion:
    """Answers from one complete version. Opens at first use; closes after `retire` with its last reader."""

    def __init__(self, folder: Path, about: DomainVersion) -> None:
        self.folder = folder
        self.about = about
        self._lock = threading.Lock()
        self._readers = 0
        self._shard: engine.EdgeShard | None = None
        self._vectors: FloatArray | None = None
        self._on_closed: Callable[[], None] | None = None

    def acquire(self) -> bool:
        """Become a reader; False when the version is already on its way out."""
        with self._lock:
            if self._on_closed is not None:
                return False
            self._readers += 1
            return True

    def release(self) -> None:
        """End what `acquire` began."""
        with self._lock:
            self._readers -= 1
            last = self._readers == 0 and self._on_closed is not None
        if last:
            self._close()

    def retire(self, on_closed: Callable[[], None]) -> None:
        """Let no reader in any more; when the last has left, close and call `on_closed`."""
        with self._lock:
            self._on_closed = on_closed
            idle = self._readers == 0
        if idle:
            self._close()

    def prepare(self) -> tuple[engine.EdgeShard, FloatArray]:
        """The open shard and the mapped vectors [N, d]. Raises `DatastoreUnavailable`."""
        with self._lock:
            if self._shard is None or self._vectors is None:
                about = self.about
                with _engine(self.folder, f"opening version {about.version} of domain {about.domain!r}"):
                    path = self.folder / _VECTORS
                    if path.stat().st_size != about.captions * about.dimension * np.float32().itemsize:
                        raise ValueError(f"{path.name} has not the size of {about.captions} vectors")
                    shape = (about.captions, about.dimension)
                    self._vectors = np.memmap(path, np.float32, "r", shape=shape)
                    self._shard = engine.EdgeShard.load(str(self.folder / _SHARD))
            return self._shard, self._vectors

    def search(self, vectors: FloatArray, limit: int) -> list[list[Neighbour]]:
        """See `DomainStore.search`."""
        shard, stored = self.prepare()
        # `exact` scans whatever index there is; a shard that was never optimised has none anyway.
        exact = engine.SearchParams(exact=True)
        requests = [
            engine.QueryRequest(
                limit=min(limit, self.about.captions),
                query=engine.Query.Nearest(query),
                with_vector=False,
                with_payload=True,
                params=exact,
            )
            for query in _unit(vectors).tolist()
        ]
        with _engine(self.folder, "searching"):
            answers = shard.query_batch(engine.QueryBatchRequest(requests))
        return [_neighbours(hits, stored) for hits in answers]

    def verify(self, samples: Mapping[int, str]) -> None:
        """Count what is stored and find some of it again. Raises `DatastoreError` when it is not whole."""
        shard, stored = self.prepare()
        with _engine(self.folder, "counting"):
            counted = shard.count(engine.CountRequest(exact=True))
        if counted != self.about.captions:
            raise DatastoreError(f"{self.about.captions} captions were added and {counted} are stored")
        rows = list(samples)
        with _engine(self.folder, "reading"):
            records = {record.id: record.payload or {} for record in shard.retrieve([*rows], True, False)}
        for row, best in zip(rows, self.search(stored[rows], 1), strict=True):
            if records[row].get(_CAPTION) != samples[row]:
                raise DatastoreError(f"caption {row} was stored as another one than {samples[row]!r}")
            # Another caption may have the very same vector, so what must come back is the vector.
            if best[0].score < _SELF_SIMILARITY or float(best[0].vector @ stored[row]) < _SELF_SIMILARITY:
                raise DatastoreError(f"the stored caption {samples[row]!r} does not find itself")

    def _close(self) -> None:
        with self._lock:
            shard, self._shard, self._vectors = self._shard, None, None
        if shard is not None:
            with _engine(self.folder, "closing"):
                shard.close()
        if self._on_closed is not None:
            self._on_closed()


def _checked(captions: Sequence[str], vectors: FloatArray, dimension: int) -> FloatArray:
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != (len(captions), dimension):
        shape = "x".join(map(str, vectors.shape))
        raise DatastoreError(f"{len(captions)} captions of dimension {dimension} came with {shape} numbers")
    # Written so that NaN fails too.
    if not np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT_TOLERANCE):
        raise DatastoreError("a caption's vector is not of unit norm")
    return vectors


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)


def _neighbours(hits: list[engine.ScoredPoint], stored: FloatArray) -> list[Neighbour]:
    ids: NDArray[np.int64] = np.array([hit.id for hit in hits], dtype=np.int64)
    scores: NDArray[np.float64] = np.array([hit.score for hit in hits], dtype=np.float64)
    # Equal scores come in the order of registration, so that the same question has one answer.
    order = np.lexsort((ids, -scores))
    rows = np.asarray(stored[ids[order]])
    return [
        Neighbour((hits[at].payload or {})[_CAPTION], float(scores[at]), row)
        for at, row in zip(order, rows, strict=True)
    ]
