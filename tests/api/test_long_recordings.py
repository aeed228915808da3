import json
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from datastores.base import DomainVersion, Neighbour
from models.bundle.config import RetrievalSection
from models.vectors import FloatArray
from tests.api.conftest import serving
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore
from tests.recordings import encode, tones

SECONDS, EVERY = 600.0, 4.0
HERTZ = (400, 900, 2000)
CAPTIONS = ["tone 4", "tone 9", "tone 20"]
NEIGHBOURS, DIMENSION = 128, 4096
MEGABYTE = 1 << 20


class Memory:
    """What is allocated, as Python and numpy tell."""

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}
        self.above: dict[str, int] = {}

    def mark(self, what: str) -> None:
        """Begin to watch how far it goes above what there is now; only the first time counts."""
        if what not in self._marks:
            self.settle()
            tracemalloc.reset_peak()
            self._marks[what] = tracemalloc.get_traced_memory()[0]

    def settle(self) -> None:
        """Note the peak since the last mark."""
        if self._marks:
            last = list(self._marks)[-1]
            self.above.setdefault(last, tracemalloc.get_traced_memory()[1] - self._marks[last])


class WatchedClap(FakeClap):
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        self._memory.mark("hearing")
        return super().embed_audio(windows)


class WideStore(MemoryStore):
    """Brings as many neighbours as are asked for, each with a vector of its own: 2 MB a query."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._memory = memory

    async def search(self, version: DomainVersion, vectors: FloatArray, limit: int) -> list[list[Neighbour]]:
        self._memory.mark("writing")
        return [
            [replace(near[n % len(near)], vector=np.ones(DIMENSION, np.float32)) for n in range(limit)]
            for near in await super().search(version, vectors, limit)
        ]


@contextmanager
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


async def test_ten_minutes_of_changing_sounds_are_captioned_in_bounded_memory() -> None:
    memory = Memory()
    store, clap = WideStore(memory), WatchedClap(memory)
    await store.put("city", CAPTIONS, clap.embed_text(CAPTIONS), clap.fingerprint)
    parts = round(SECONDS / EVERY)
    recording = encode(tones(EVERY, *(HERTZ[n % 3] for n in range(parts))))
    bundle = FakeBundle(clap=clap, retrieval=RetrievalSection(k=3, neighbours=NEIGHBOURS))
    async with serving(store, bundle) as client:
        with traced():
            answer = await client.post("/caption?domain=city&response_format=verbose_json", content=recording)
            memory.settle()
        body = answer.json()
        streamed = await client.post("/caption?domain=city&response_format=verbose_json&stream=true", content=recording)
    assert answer.status_code == 200
    assert [one["caption"] for one in body["segments"]] == [f"Heard: {CAPTIONS[n % 3]}" for n in range(parts)]
    bounds = [0.0, *(one["end"] for one in body["segments"])]
    assert [one["start"] for one in body["segments"]] == bounds[:-1]
    assert bounds[-1] == body["duration"] == SECONDS
    assert json.loads(streamed.text.split("event: caption\ndata: ")[1])["segments"] == body["segments"]
    # To copy the windows, which overlap, would take twice the recording's 37 MB; the neighbours of all parts 300 MB.
    assert memory.above["hearing"] < 16 * MEGABYTE
    assert memory.above["writing"] < 64 * MEGABYTE
