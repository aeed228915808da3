"""What the embedded store is filled with to be measured: numbered captions with given vectors."""

from benchmarks.vectors import FloatArray
from datastores.base import Statistics
from datastores.edge.store import EdgeStore

DOMAIN = "benchmark"
_AT_ONCE = 1_024


async def fill(store: EdgeStore, vectors: FloatArray, statistics: Statistics) -> None:
    """Write numbered captions with these vectors as the benchmark's domain."""
    async with store.writer(DOMAIN, dimension=vectors.shape[1], fingerprint="benchmark") as writer:
        for start in range(0, len(vectors), _AT_ONCE):
            chunk = vectors[start : start + _AT_ONCE]
            await writer.add([caption_of(start + row) for row in range(len(chunk))], chunk)
        await writer.commit(statistics)


def caption_of(row: int) -> str:
    """A caption as long as real ones are, different for every row."""
    return f"Sound number {row}: rain falls on a roof while cars pass by."
