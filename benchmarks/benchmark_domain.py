"""The domain that stores are filled with to be measured: numbered captions with given vectors."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.vectors import chunks
from datastores.base import Statistics
from datastores.edge.store import EdgeStore
from datastores.statistics import RunningStatistics
from models.vectors import FloatArray

DOMAIN = "benchmark"
_AT_ONCE = 1_024


async def fill(store: EdgeStore, vectors: FloatArray, statistics: Statistics) -> None:
    """Write numbered captions with these vectors [n, d] as the benchmark's domain."""
    async with store.writer(DOMAIN, dimension=vectors.shape[1], fingerprint="benchmark") as writer:
        for start in range(0, len(vectors), _AT_ONCE):
            chunk = vectors[start : start + _AT_ONCE]
            await writer.add([caption_of(start + row) for row in range(len(chunk))], chunk)
        await writer.commit(statistics)


def fill_local(folder: Path, dimension: int, batches: Iterable[tuple[Sequence[str], FloatArray]]) -> None:
    """Write batches of captions and vectors [n, dimension] with qdrant-client's local mode, one after the other."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))
    client.create_collection(
        DOMAIN, vectors_config=models.VectorParams(size=dimension, distance=models.Distance.COSINE)
    )
    stored = 0
    for captions, vectors in batches:
        payloads = [{"caption": caption} for caption in captions]
        ids = list(range(stored, stored + len(captions)))
        client.upsert(DOMAIN, models.Batch(ids=[*ids], vectors=vectors.tolist(), payloads=payloads))
        stored += len(captions)
    client.close()


def statistics_of(vectors: FloatArray) -> Statistics:
    """Return the statistics of a domain with these vectors [n, d]."""
    running = RunningStatistics(vectors.shape[1])
    for chunk in chunks(vectors):
        running.add(chunk)
    return running.statistics()


def caption_of(row: int) -> str:
    """Return a caption as long as real ones are, another for each row."""
    return f"Sound number {row}: rain falls on a roof while cars pass by."
