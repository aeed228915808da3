"""One complete version in the embedded engine: searched, looked up and walked through, never changed."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray

from datastores.base import (
    DatastoreError,
    DatastoreUnavailable,
    DomainVersion,
    Entry,
    FloatArray,
    Neighbour,
)
from datastores.checks import SELF_SIMILARITY, unit
from datastores.edge.catalog import PATH_SETTING
from datastores.edge.index import CaptionIndex, hashes_of

CAPTION = "caption"
SHARD = "shard"
VECTORS = "vectors.f32"
INDEX = "captions.idx"
_TEXTS_AT_ONCE = 4096


@contextlib.contextmanager
def engine_errors(folder: Path, doing: str) -> Iterator[None]:
    """Turn whatever the engine or the disk fails with into `DatastoreUnavailable`."""
    try:
        yield
    except (DatastoreError, KeyboardInterrupt, SystemExit):
        raise
    # A panic of the engine (a full disk, say) is no Exception.
    except BaseException as error:
        raise DatastoreUnavailable(f"{doing} failed in {folder}: {error} ({PATH_SETTING})") from error


class ServedVersion:
    """Answers from one complete version. Opens at first use; closes after `retire` with its last reader."""

    def __init__(self, folder: Path, about: DomainVersion) -> None:
        self.folder = folder
        self.about = about
        self._lock = threading.Lock()
        self._readers = 0
        self._shard: engine.EdgeShard | None = None
        self._vectors: FloatArray | None = None
        self._index: CaptionIndex | None = None
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
                with engine_errors(self.folder, f"opening version {about.version} of domain {about.domain!r}"):
                    path = self.folder / VECTORS
                    if path.stat().st_size != about.captions * about.dimension * np.float32().itemsize:
                        raise ValueError(f"{path.name} has not the size of {about.captions} vectors")
                    shape = (about.captions, about.dimension)
                    self._vectors = np.memmap(path, np.float32, "r", shape=shape)
                    self._shard = engine.EdgeShard.load(str(self.folder / SHARD))
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
            for query in unit(vectors).tolist()
        ]
        with engine_errors(self.folder, "searching"):
            answers = shard.query_batch(engine.QueryBatchRequest(requests))
        return [_neighbours(hits, stored) for hits in answers]

    def lookup(self, captions: Sequence[str]) -> list[FloatArray | None]:
        """See `DomainStore.lookup`."""
        _, stored = self.prepare()
        asked, rows = self._prepare_index().candidates(hashes_of(captions))
        found: list[FloatArray | None] = [None] * len(captions)
        texts = self._texts(rows.tolist())
        for at, row, vector in zip(asked.tolist(), rows.tolist(), np.asarray(stored[rows]), strict=True):
            if texts[row] == captions[at]:
                found[at] = vector
        return found

    def entries(self, start: int, count: int) -> list[Entry]:
        """At most `count` entries from row `start` on; none behind the last one."""
        _, stored = self.prepare()
        rows = range(start, min(start + count, self.about.captions))
        texts = self._texts(rows)
        # A copy, so that an entry stays good when the version closes.
        return [
            Entry(texts[row], vector) for row, vector in zip(rows, np.array(stored[start : rows.stop]), strict=True)
        ]

    def verify(self, samples: Mapping[int, str]) -> None:
        """Count what is stored and find some of it again. Raises `DatastoreError` when it is not whole."""
        shard, stored = self.prepare()
        with engine_errors(self.folder, "counting"):
            counted = shard.count(engine.CountRequest(exact=True))
        if counted != self.about.captions:
            raise DatastoreError(f"{self.about.captions} captions were added and {counted} are stored")
        rows = list(samples)
        texts = self._texts(rows)
        for row, best in zip(rows, self.search(stored[rows], 1), strict=True):
            if texts[row] != samples[row]:
                raise DatastoreError(f"caption {row} was stored as another one than {samples[row]!r}")
            # Another caption may have the very same vector, so what must come back is the vector.
            if best[0].score < SELF_SIMILARITY or float(best[0].vector @ stored[row]) < SELF_SIMILARITY:
                raise DatastoreError(f"the stored caption {samples[row]!r} does not find itself")

    def _prepare_index(self) -> CaptionIndex:
        index = self._index or CaptionIndex.read(self.folder / INDEX, self.about.captions)
        if index is None:
            # Of an older drcap, or damaged: the captions themselves say all that it would.
            everything = range(self.about.captions)
            parts = [
                hashes_of(self._texts(some).values())
                for some in (everything[at : at + _TEXTS_AT_ONCE] for at in everything[::_TEXTS_AT_ONCE])
            ]
            index = CaptionIndex.of(np.concatenate(parts))
        self._index = index
        return index

    def _texts(self, rows: Sequence[int]) -> dict[int, str]:
        """The caption of each row, in the order asked. Raises `DatastoreUnavailable` when one is missing."""
        shard, _ = self.prepare()
        with engine_errors(self.folder, "reading captions"):
            payloads = {record.id: record.payload for record in shard.retrieve([*rows], True, False)}
            return {row: (payloads[row] or {})[CAPTION] for row in rows}

    def _close(self) -> None:
        with self._lock:
            shard, self._shard, self._vectors, self._index = self._shard, None, None, None
        if shard is not None:
            with engine_errors(self.folder, "closing"):
                shard.close()
        if self._on_closed is not None:
            self._on_closed()


@dataclass(frozen=True)
class ServedDomain:
    """The versions of a domain that answer; `left` is one a rollback has left, kept for its last requests."""

    current: ServedVersion
    previous: ServedVersion | None = None
    left: ServedVersion | None = None

    def versions(self) -> Iterator[ServedVersion]:
        yield from (one for one in (self.current, self.previous, self.left) if one is not None)


def _neighbours(hits: list[engine.ScoredPoint], stored: FloatArray) -> list[Neighbour]:
    ids: NDArray[np.int64] = np.array([hit.id for hit in hits], dtype=np.int64)
    scores: NDArray[np.float64] = np.array([hit.score for hit in hits], dtype=np.float64)
    # Equal scores come in the order of registration, so that the same question has one answer.
    order = np.lexsort((ids, -scores))
    rows = np.asarray(stored[ids[order]])
    return [
        Neighbour((hits[at].payload or {})[CAPTION], float(scores[at]), row)
        for at, row in zip(order, rows, strict=True)
    ]
