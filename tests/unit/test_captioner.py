from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from datastores.base import DomainStore, DomainVersion, FingerprintMismatch, Statistics
from models.clap.base import FloatArray
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.projection import Moments
from models.prompt import Prompt
from service.audio.decoding import Recording
from service.bundle import Bundle
from service.captioning.captioner import Caption, Captioner, CaptionOptions
from service.captioning.models import WorkingModels
from service.captioning.stopwatch import Stopwatch
from service.settings import BatchingSettings
from tests.fakes import FakeBundle, FakeClap, FakeDecoder, FakeProjection, FakeRetrieval
from tests.memory_store import MemoryStore
from tests.recordings import tone

CAPTIONS = ["tone 4", "tone 10", "tone 20", "a bell rings", "rain falls"]
CLAP = FakeClap()


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.put("city", CAPTIONS, CLAP.embed_text(CAPTIONS), CLAP.fingerprint)
    return store


def recording(*pieces: FloatArray) -> Recording:
    samples = np.concatenate(pieces)
    return Recording(samples, 16_000, len(samples) / 16_000)


@asynccontextmanager
async def captioning(bundle: Bundle, store: DomainStore) -> AsyncIterator[Captioner]:
    models = WorkingModels(bundle, BatchingSettings(), calls=4)
    await models.start()
    try:
        yield Captioner(bundle, store, models)
    finally:
        await models.close()


async def caption_once(
    bundle: Bundle, store: DomainStore, heard: Recording, similar: int = 3, by_window: bool = False
) -> Caption:
    async with captioning(bundle, store) as captioner:
        return await caption(captioner, heard, similar, by_window)


async def caption(captioner: Captioner, heard: Recording, similar: int = 3, by_window: bool = False) -> Caption:
    version = await captioner.resolve("city")
    options = CaptionOptions(similar, GenerationOptions(), by_window)
    return await captioner.caption(heard, version, options, Stopwatch())


class ReadingDecoder(FakeDecoder):
    """Remembers the prompts."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.prompts += prompts
        return super().generate(prompts, options, gone)


class ReversingProjection(FakeProjection):
    """Answers the opposite vector, and remembers what it was given."""

    def __init__(self) -> None:
        self.support: list[int] = []
        self.counts: list[int] = []

    def project(self, query: FloatArray, vectors: FloatArray, scores: FloatArray, moments: Moments, /) -> FloatArray:
        np.testing.assert_allclose(vectors @ query, scores, atol=1e-5)
        self.support.append(len(vectors))
        self.counts.append(moments.count)
        return -query


async def test_a_window_is_heard_searched_and_written(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(), store, recording(tone()))
    assert made.text == "Heard: tone 4"
    assert made.similar[0].caption == "tone 4"
    assert list(made.seconds) == ["embed_audio", "search", "projection", "generate", "rerank"]
    assert made.segments == ()
    assert store.searches == [1]


async def test_the_decoder_gets_the_projected_vector_and_the_search_the_raw_one(store: MemoryStore) -> None:
    decoder, projection = ReadingDecoder(), ReversingProjection()
    bundle = FakeBundle(decoder=decoder, projection=projection, retrieval=FakeRetrieval(k=2, neighbours=4))
    made = await caption_once(bundle, store, recording(tone()), similar=2)
    heard = CLAP.embed_audio([tone()])[0]
    np.testing.assert_allclose(decoder.prompts[0].vector, -heard, atol=1e-6)
    assert decoder.prompts[0].similar_captions == tuple(near.caption for near in made.similar)
    assert made.similar[0].score == pytest.approx(1.0, abs=1e-5)
    assert (projection.support, projection.counts) == ([4], [5])


async def test_the_vector_of_a_clip_is_the_renormalised_mean_of_its_windows(store: MemoryStore) -> None:
    decoder = ReadingDecoder()
    heard = recording(tone(2.0, hertz=400), tone(2.0, hertz=1000))
    await caption_once(FakeBundle(decoder=decoder), store, heard)
    mean = CLAP.embed_audio(heard.windows(2.0)).mean(axis=0)
    np.testing.assert_allclose(decoder.prompts[0].vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert np.linalg.norm(decoder.prompts[0].vector) == pytest.approx(1.0)


async def test_each_window_can_have_its_own_caption(store: MemoryStore) -> None:
    heard = recording(tone(2.0, hertz=400), tone(2.0, hertz=1000), tone(2.0, hertz=2000))
    made = await caption_once(FakeBundle(), store, heard, by_window=True)
    assert [(s.start, s.end, s.caption) for s in made.segments] == [
        (0.0, 2.0, "Heard: tone 4"),
        (2.0, 4.0, "Heard: tone 10"),
        (4.0, 6.0, "Heard: tone 20"),
    ]
    assert store.searches == [4]


async def test_the_only_window_has_the_caption_of_the_clip(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(), store, recording(tone()), by_window=True)
    assert [segment.caption for segment in made.segments] == [made.text]
    assert store.searches == [1]


async def test_many_windows_are_all_captioned_in_order(store: MemoryStore) -> None:
    pieces = [tone(2.0, hertz=400 if n % 2 else 1000) for n in range(37)]
    made = await caption_once(FakeBundle(), store, recording(*pieces), by_window=True)
    assert [s.caption for s in made.segments] == ["Heard: tone 4" if n % 2 else "Heard: tone 10" for n in range(37)]


async def test_no_similar_captions_can_be_asked_for(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(), store, recording(tone()), similar=0)
    assert (made.similar, made.text) == ((), "Heard")


async def test_more_similar_captions_than_neighbours_do_not_widen_the_support(store: MemoryStore) -> None:
    projection = ReversingProjection()
    bundle = FakeBundle(projection=projection, retrieval=FakeRetrieval(k=1, neighbours=2))
    made = await caption_once(bundle, store, recording(tone()), similar=4)
    assert len(made.similar) == 4
    assert projection.support == [2]


async def test_a_switch_during_a_request_does_not_reach_it(store: MemoryStore) -> None:
    async with captioning(FakeBundle(), store) as captioner:
        version = await captioner.resolve("city")
        await store.put("city", ["tone 4 anew"], CLAP.embed_text(["tone 4 anew"]), CLAP.fingerprint)
        options = CaptionOptions(1, GenerationOptions())
        old = await captioner.caption(recording(tone()), version, options, Stopwatch())
        assert (old.text, old.version.version) == ("Heard: tone 4", "v1")
        new = await caption(captioner, recording(tone()))
        assert (new.text, new.version.version) == ("Heard: tone 4 anew", "v2")


async def test_a_domain_of_another_clap_is_refused(store: MemoryStore) -> None:
    other = FakeClap()
    other.fingerprint = "other"
    async with captioning(FakeBundle(clap=other), store) as captioner:
        with pytest.raises(FingerprintMismatch, match=r"'fake-1'.*'other'"):
            await captioner.resolve("city")


class CountingStore(MemoryStore):
    """Counts how often statistics are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    async def statistics(self, version: DomainVersion) -> Statistics:
        self.read.append(version.version)
        return await super().statistics(version)


async def test_statistics_are_read_once_a_version() -> None:
    store = CountingStore()
    async with captioning(FakeBundle(), store) as captioner:
        for _ in range(2):
            await store.put("city", CAPTIONS, CLAP.embed_text(CAPTIONS), CLAP.fingerprint)
            await caption(captioner, recording(tone()))
            await caption(captioner, recording(tone()))
    assert store.read == ["v1", "v2"]


class ManyMinded(FakeDecoder):
    """Ends with several captions, the likeliest of them unlike the sound."""

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        return [Generated("a bell rings", 3, ("rain falls", "tone 10")) for _ in prompts]


async def test_of_several_captions_the_one_most_like_the_sound_is_answered(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(decoder=ManyMinded()), store, recording(tone(hertz=1000.0)))
    assert made.text == "tone 10"
