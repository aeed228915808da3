"""The datastores to compare, behind one protocol: each is built, opened and asked in the same way.

FAISS is optional (`pip install drcap[bench]`): its engine raises ImportError when it is made without the package.
"""

import asyncio
import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark_domain import DOMAIN, caption_of, fill, fill_local, statistics_of
from benchmarks.vectors import chunks
from datastores.edge.store import EdgeStore
from models.vectors import FloatArray

OURS = "embedded"
LOCAL = "qdrant-client local"
_M, _EF_BUILD, _EF = 32, 128, 128
_LOCAL_BATCH = 256
_LOCAL_WARNING = ".*[Ll]ocal mode.*"


class Engine(Protocol):
    """A datastore in a folder of its own. `open` comes before `ask`."""

    def build(self, vectors: FloatArray) -> None:
        """Store unit vectors [n, d] durably, each with a caption."""

    def open(self) -> None:
        """Open the built datastore, ready to answer."""

    def ask(self, query: FloatArray, limit: int) -> list[str]:
        """Return the captions nearest to a unit vector [d], best first."""


class Embedded:
    """Our embedded Qdrant engine behind the datastore contract; its search is exact."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runner = asyncio.Runner()
        self._store: EdgeStore | None = None

    def build(self, vectors: FloatArray) -> None:
        store = self._runner.run(EdgeStore.open(self._folder))
        self._runner.run(fill(store, vectors, statistics_of(vectors)))
        self._runner.run(store.close())

    def open(self) -> None:
        self._store = self._runner.run(EdgeStore.open(self._folder))
        self._version = self._runner.run(self._store.resolve(DOMAIN))

    def ask(self, query: FloatArray, limit: int) -> list[str]:
        assert self._store is not None  # noqa: S101 - `open` comes first
        (near,) = self._runner.run(self._store.search(self._version, query[None], limit))
        return [one.caption for one in near]


class Local:
    """qdrant-client's local mode: numpy in the client's process, payloads in SQLite."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, vectors: FloatArray) -> None:
        warnings.filterwarnings("ignore", message=_LOCAL_WARNING)
        starts = range(0, len(vectors), _LOCAL_BATCH)
        batches = ((start, vectors[start : start + _LOCAL_BATCH]) for start in starts)
        named = (([caption_of(start + row) for row in range(len(rows))], rows) for start, rows in batches)
        fill_local(self._folder, vectors.shape[1], named)

    def open(self) -> None:
        from qdrant_client import QdrantClient

        warnings.filterwarnings("ignore", message=_LOCAL_WARNING)
        self._opened = QdrantClient(path=str(self._folder))

    def ask(self, query: FloatArray, limit: int) -> list[str]:
        found = self._opened.query_points(DOMAIN, query=query.tolist(), limit=limit).points
        return [(point.payload or {})["caption"] for point in found]


class Faiss:
    """A FAISS index in a file, with the captions as JSON beside it."""

    def __init__(self, folder: Path, make: Callable[[Any, int], Any]) -> None:
        self._faiss = importlib.import_module("faiss")
        self._index_file, self._captions_file = str(folder / "index"), folder / "captions.json"
        self._make = make

    def build(self, vectors: FloatArray) -> None:
        index = self._make(self._faiss, vectors.shape[1])
        for chunk in chunks(vectors):
            index.add(np.ascontiguousarray(chunk))
        self._faiss.write_index(index, self._index_file)
        self._captions_file.write_text(json.dumps([caption_of(row) for row in range(len(vectors))]))

    def open(self) -> None:
        self._index = self._faiss.read_index(self._index_file)
        self._captions: list[str] = json.loads(self._captions_file.read_text())

    def ask(self, query: FloatArray, limit: int) -> list[str]:
        found: NDArray[np.int64] = self._index.search(query[None], limit)[1][0]
        return [self._captions[row] for row in found if row >= 0]


def _flat(faiss: Any, dimension: int) -> Any:
    return faiss.IndexFlatIP(dimension)


def _hnsw(faiss: Any, dimension: int) -> Any:
    index = faiss.IndexHNSWFlat(dimension, _M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = _EF_BUILD, _EF
    return index


ENGINES: dict[str, Callable[[Path], Engine]] = {
    OURS: Embedded,
    LOCAL: Local,
    "faiss flat": lambda folder: Faiss(folder, _flat),
    "faiss hnsw": lambda folder: Faiss(folder, _hnsw),
}
