"""One complete version in the embedded engine, for reading only."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
    StoredCaption,
)
from datastores.checks import unit_norm
from datastores.draft import Draft
from datastores.edge.index import CaptionIndex, hashes_of

CAPTION = "caption"
SHARD = "shard"
VECTORS = "vectors.f32"
INDEX = "captions.idx"
_TEXTS_AT_ONCE = 4096


@contextlib.contextmanager
def engine_errors(folder: Path, hint: str, doing: str) -> Iterator[None]:
    """Turn every failure of the engine or the disk into `DatastoreUnavailable`; the message ends with `hint`."""
    try:
        yield
    except (DatastoreError, KeyboardInterrupt, SystemExit):
        raise
    # A panic of the engine (on a full disk, for example) is not an Exception.
    except BaseException as error:
        raise DatastoreUnavailable(f"{doing} failed in {folder}: {error}{hint}") from error


class ServedVersion:
    """Answers from one complete version. It opens at first use; after `retire` it closes with its last reader."""

    def __init__(self, folder: Path, about: DomainVersion, hint: str = "") -> None:
        self.folder = folder
        self.about = about
        self._errors = partial(engine_errors, folder, hint)
        self._lock = threading.Lock()
        self._readers = 0
        self._shard: engine.EdgeShard | None = None
        self._vectors: FloatArray | None = None
        self._index: CaptionIndex | None = None
        self._on_closed: Callable[[], None] | None = None

    def acquire(self) -> bool:
        """Become a reader. Return False if the version is already retired."""
        with self._lock:
            if self._on_closed is not None:
                return False
            self._readers += 1
            return True

    def release(self) -> None:
        """Stop being a reader."""
        with self._lock:
            self._readers -= 1
            last = self._readers == 0 and self._on_closed is not None
        if last:
            self._close()

    def retire(self, on_closed: Callable[[], None]) -> None:
        """Refuse new readers; when the last one has left, close and call `on_closed`."""
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
                with self._errors(f"opening version {about.version} of domain {about.domain!r}"):
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
            for query in unit_norm(vectors).tolist()
        ]
        with self._errors("searching"):
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

    def entries(self, start: int, count: int) -> list[StoredCaption]:
        """At most `count` captions from row `start` on; an empty list behind the last one."""
        _, stored = self.prepare()
        rows = range(start, min(start + count, self.about.captions))
        texts = self._texts(rows)
        # A copy, so that the vectors stay valid when the version closes.
        return [
            StoredCaption(texts[row], vector)
            for row, vector in zip(rows, np.array(stored[start : rows.stop]), strict=True)
        ]

    def verify(self, draft: Draft) -> None:
        """Count what is stored and find some of it again. Raises `DatastoreError` when something is missing."""
        shard, _ = self.prepare()
        with self._errors("counting"):
            counted = shard.count(engine.CountRequest(exact=True))
        draft.verify_count(counted)
        captions, vectors = draft.samples()
        draft.verify_samples(self.lookup(captions), self.search(vectors, 1))

    def _prepare_index(self) -> CaptionIndex:
        index = self._index or CaptionIndex.read(self.folder / INDEX, self.about.captions)
        if index is None:
            # An older drcap wrote the version, or the file is damaged: the captions contain the same information.
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
        with self._errors("reading captions"):
            payloads = {record.id: record.payload for record in shard.retrieve([*rows], True, False)}
            return {row: (payloads[row] or {})[CAPTION] for row in rows}

    def _close(self) -> None:
        with self._lock:
            shard, self._shard, self._vectors, self._index = self._shard, None, None, None
        if shard is not None:
            with self._errors("closing"):
                shard.close()
        if self._on_closed is not None:
            self._on_closed()


@dataclass(frozen=True)
class ServedDomain:
    """The versions of a domain that answer; `left` was current before a rollback and serves its last requests."""

    current: ServedVersion
    previous: ServedVersion | None = None
    left: ServedVersion | None = None

    def versions(self) -> Iterator[ServedVersion]:
        yield from (one for one in (self.current, self.previous, self.left) if one is not None)


def _neighbours(hits: list[engine.ScoredPoint], stored: FloatArray) -> list[Neighbour]:
    ids: NDArray[np.int64] = np.array([hit.id for hit in hits], dtype=np.int64)
    scores: NDArray[np.float64] = np.array([hit.score for hit in hits], dtype=np.float64)
    # Equal scores come in the order of registration, so that the same query has one answer.
    order = np.lexsort((ids, -scores))
    rows = np.asarray(stored[ids[order]])
    return [
        Neighbour((hits[at].payload or {})[CAPTION], float(scores[at]), row)
        for at, row in zip(order, rows, strict=True)
    ]
