from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby

import numpy as np
import pytest

from datastores.base import DomainStore, DomainVersion, Statistics
from models.bundle.config import RetrievalSection, SegmentsSection
from models.bundle.loaded import LoadedBundle
from models.conditioning.projection import TextStatistics
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from service.audio.decoding import Recording
from service.captioning.batched_models import BatchedModels
from service.captioning.captioner import Caption, Captioner, CaptionOptions, CaptionRequest
from service.captioning.progress import CaptionProgress, Stage
from service.captioning.segments import Segment
from service.captioning.stopwatch import Stopwatch
from service.settings import BatchingSettings
from tests.fakes import FakeBundle, FakeClap, FakeDecoder, FakeProjection, SteppingClap
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
async def captioning(bundle: LoadedBundle, store: DomainStore) -> AsyncIterator[Captioner]:
    models = BatchedModels(bundle, BatchingSettings(), calls=4)
    await models.start()
    try:
        yield Captioner(bundle, store, models)
    finally:
        await models.close()


async def caption_once(
    bundle: LoadedBundle, store: DomainStore, heard: Recording, similar: int = 3, with_segments: bool = False
) -> Caption:
    async with captioning(bundle, store) as captioner:
        return await caption(captioner, store, heard, similar, with_segments)


async def caption(
    captioner: Captioner, store: DomainStore, heard: Recording, similar: int = 3, with_segments: bool = False
) -> Caption:
    version = await store.resolve("city")
    options = CaptionOptions(similar, GenerationOptions(), with_segments)
    return await captioner.caption(CaptionRequest(heard, version, options, Stopwatch()))


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
        super().__init__()
        object.__setattr__(self, "support", [])
        object.__setattr__(self, "counts", [])

    support: list[int]
    counts: list[int]

    def project(
        self, query: FloatArray, vectors: FloatArray, scores: FloatArray, statistics: TextStatistics
    ) -> FloatArray:
        np.testing.assert_allclose(vectors @ query, scores, atol=1e-5)
        self.support.append(len(vectors))
        self.counts.append(statistics.count)
        return -query


async def test_a_window_is_heard_searched_and_written(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(), store, recording(tone()))
    assert made.text == "Heard: tone 4"
    assert made.similar[0].caption == "tone 4"
    assert list(made.seconds) == ["embed_audio", "search", "projection", "generate", "rerank", "total"]
    assert made.segments == ()
    assert store.searches == [1]


async def test_the_decoder_gets_the_projected_vector_and_the_search_the_raw_one(store: MemoryStore) -> None:
    decoder, projection = ReadingDecoder(), ReversingProjection()
    bundle = FakeBundle(decoder=decoder, projection=projection, retrieval=RetrievalSection(k=2, neighbours=4))
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


async def test_each_part_that_sounds_different_has_its_own_caption(store: MemoryStore) -> None:
    heard = recording(tone(6.0, hertz=400), tone(6.0, hertz=1000), tone(6.0, hertz=2000))
    made = await caption_once(FakeBundle(), store, heard, with_segments=True)
    assert [one.caption for one in made.segments] == ["Heard: tone 4", "Heard: tone 10", "Heard: tone 20"]
    assert_tiling(made.segments, 18.0)
    assert [one.end for one in made.segments[:2]] == [pytest.approx(6.0, abs=0.5), pytest.approx(12.0, abs=0.5)]
    assert store.searches == [4]


def assert_tiling(segments: Sequence[Segment], duration: float) -> None:
    assert segments[0].start == 0.0
    assert segments[-1].end == duration
    assert [one.start for one in segments[1:]] == [one.end for one in segments[:-1]]
    assert all(one.start < one.end for one in segments)


async def test_the_only_window_has_the_caption_of_the_clip(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(), store, recording(tone()), with_segments=True)
    assert [segment.caption for segment in made.segments] == [made.text]
    assert store.searches == [1]


async def test_ten_minutes_of_one_sound_cost_one_caption(store: MemoryStore) -> None:
    decoder = ReadingDecoder()
    made = await caption_once(FakeBundle(decoder=decoder), store, recording(tone(600.0, hertz=400)), with_segments=True)
    assert made.segments == (Segment(0.0, 600.0, made.text),)
    assert len(decoder.prompts) == 1


async def test_parts_of_one_caption_that_follow_each_other_become_one_segment(store: MemoryStore) -> None:
    class Terse(FakeDecoder):
        def generate(
            self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody
        ) -> list[Generated]:
            return [Generated("A tone.", 2) for _ in prompts]

    heard = recording(tone(6.0, hertz=400), tone(6.0, hertz=1000))
    made = await caption_once(FakeBundle(decoder=Terse()), store, heard, with_segments=True)
    assert made.segments == (Segment(0.0, 12.0, "A tone."),)
    assert made.tokens == 6


async def test_silence_has_no_caption_of_its_own_and_says_nothing_of_the_whole(store: MemoryStore) -> None:
    silence, decoder = np.zeros(8 * 16_000, np.float32), ReadingDecoder()
    heard = recording(silence, tone(6.0, hertz=400), silence, tone(6.0, hertz=1000), silence)
    bundle = FakeBundle(decoder=decoder, segments=SegmentsSection(window_seconds=1.0))
    async with captioning(bundle, store) as captioner:
        made = await caption(captioner, store, heard, with_segments=True)
    assert [one.caption for one in made.segments] == ["Heard: tone 4", "Heard: tone 10"]
    assert_tiling(made.segments, 36.0)
    assert made.segments[0].end == pytest.approx(22.0, abs=0.5)
    mean = CLAP.embed_text(["tone 4", "tone 10"]).mean(axis=0)
    np.testing.assert_allclose(decoder.prompts[0].vector, mean / np.linalg.norm(mean), atol=1e-6)


def changing(seconds: float, every: float = 4.0) -> Recording:
    """Another tone every so many seconds."""
    return recording(*[tone(every, hertz=(400, 1000, 2000)[n % 3]) for n in range(round(seconds / every))])


async def test_many_parts_are_all_captioned_in_order(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(), store, changing(148.0), with_segments=True)
    assert [one.caption for one in made.segments] == [f"Heard: tone {(4, 10, 20)[n % 3]}" for n in range(37)]
    assert_tiling(made.segments, 148.0)


async def test_neighbours_are_searched_for_as_many_captions_as_are_written_at_a_time(store: MemoryStore) -> None:
    await caption_once(FakeBundle(), store, changing(148.0), with_segments=True)
    assert store.searches == [8, 8, 8, 8, 6]


async def test_a_clip_is_captioned_alike_with_and_without_segments(store: MemoryStore) -> None:
    for seconds in (1.0, 7.0, 30.0):
        for moment in (1.0, 2.0, 5.0):
            without, decoder = ReadingDecoder(), ReadingDecoder()
            heard, segments = changing(max(4.0, seconds)), SegmentsSection(window_seconds=moment)
            async with captioning(FakeBundle(decoder=without, segments=segments), store) as captioner:
                await caption(captioner, store, heard)
            async with captioning(FakeBundle(decoder=decoder, segments=segments), store) as captioner:
                made = await caption(captioner, store, heard, with_segments=True)
            np.testing.assert_array_equal(decoder.prompts[0].vector, without.prompts[0].vector)
            assert_tiling(made.segments, heard.duration)


async def test_windows_that_serve_the_clip_and_its_parts_are_heard_once(store: MemoryStore) -> None:
    class CountingClap(FakeClap):
        heard = 0

        def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
            self.heard += len(windows)
            return super().embed_audio(windows)

    for moment, windows in ((2.0, 5), (1.0, 5 + 10)):
        clap = CountingClap()
        bundle = FakeBundle(clap=clap, segments=SegmentsSection(window_seconds=moment))
        async with captioning(bundle, store) as captioner:
            await caption(captioner, store, recording(tone(10.0)), with_segments=True)
        assert clap.heard == windows


@pytest.mark.parametrize("seconds", [1.0, 7.3, 30.0])
async def test_a_clap_that_hears_in_steps_hears_no_second_twice(store: MemoryStore, seconds: float) -> None:
    clap, heard = SteppingClap(), recording(tone(seconds))
    async with captioning(FakeBundle(clap=clap, segments=SegmentsSection(window_seconds=1.0)), store) as captioner:
        await caption(captioner, store, heard, with_segments=True)
    assert clap.samples == len(heard.samples)


async def test_parts_of_what_is_heard_in_steps_lie_where_the_sound_changes(store: MemoryStore) -> None:
    heard = recording(tone(5.0, hertz=400), tone(6.0, hertz=1000), tone(7.0, hertz=2000))
    without, decoder, segments = ReadingDecoder(), ReadingDecoder(), SegmentsSection(window_seconds=2.0)
    async with captioning(FakeBundle(clap=SteppingClap(), decoder=decoder, segments=segments), store) as captioner:
        made = await caption(captioner, store, heard, with_segments=True)
    async with captioning(FakeBundle(clap=SteppingClap(), decoder=without, segments=segments), store) as captioner:
        await caption(captioner, store, heard)
    assert [one.caption for one in made.segments] == ["Heard: tone 4", "Heard: tone 10", "Heard: tone 20"]
    assert_tiling(made.segments, 18.0)
    assert [one.end for one in made.segments[:2]] == [pytest.approx(5.0, abs=0.6), pytest.approx(11.0, abs=0.6)]
    np.testing.assert_array_equal(decoder.prompts[0].vector, without.prompts[0].vector)
    # Of a part in the middle that has no moment in common with the others, the vector is that of its own frames.
    np.testing.assert_allclose(decoder.prompts[2].vector @ CLAP.embed_text(["tone 10"])[0], 1.0, atol=0.05)


async def test_sounds_are_told_with_when_they_are_heard_and_silence_has_none(store: MemoryStore) -> None:
    silence = np.zeros(8 * 16_000, np.float32)
    heard = recording(tone(4.0, hertz=400), silence, tone(2.0, hertz=1000), tone(2.0, hertz=400))
    for clap in (FakeClap(), SteppingClap()):
        made = await caption_once(FakeBundle(clap=clap), store, heard, with_segments=True)
        when = {one.name: [(span.start, span.end) for span in one.spans] for one in made.sounds}
        # The names share a word, so each scores in the other's time too.
        assert {name: spans[-1] for name, spans in when.items()} == {"tone 4": (12.0, 16.0), "tone 10": (12.0, 16.0)}
        assert when["tone 4"][0] == (0.0, 4.0)
        assert [one.score for one in made.sounds] == [pytest.approx(1.0), pytest.approx(1.0)]
        assert (await caption_once(FakeBundle(clap=clap), store, heard)).sounds == ()
    made = await caption_once(FakeBundle(), store, recording(silence), with_segments=True)
    assert made.sounds == ()


@pytest.mark.parametrize(("similarity", "captions"), [(-1.0, 1), (1.0, 3)])
async def test_recordings_are_divided_as_the_bundle_says(store: MemoryStore, similarity: float, captions: int) -> None:
    decoder = ReadingDecoder()
    bundle = FakeBundle(decoder=decoder, segments=SegmentsSection(similarity=similarity, window_seconds=2.0))
    async with captioning(bundle, store) as captioner:
        await caption(captioner, store, recording(tone(2.0, hertz=400), tone(2.0, hertz=1000)), with_segments=True)
    assert len(decoder.prompts) == captions


async def test_progress_never_falls_and_tells_every_segment(store: MemoryStore) -> None:
    told: list[CaptionProgress] = []
    async with captioning(FakeBundle(), store) as captioner:
        version = await store.resolve("city")
        options = CaptionOptions(3, GenerationOptions(), with_segments=True)
        made = await captioner.caption(
            CaptionRequest(changing(148.0), version, options, Stopwatch()), listener=told.append
        )
    assert (told[0].stage, told[0].done) == (Stage.embed_audio, 0.0)
    assert (told[-1].stage, told[-1].done) == (Stage.generate, 1.0)
    shares = [one.done for one in told]
    assert shares == sorted(shares)
    assert len(set(shares)) > 10
    assert [stage for stage, _ in groupby(told, lambda one: one.stage)] == [Stage.embed_audio, Stage.generate]
    assert sum((one.segments for one in told), ()) == made.segments
    assert sum(1 for one in told if one.segments) == 5


async def test_progress_of_a_single_caption_tells_no_segments(store: MemoryStore) -> None:
    told: list[CaptionProgress] = []
    async with captioning(FakeBundle(), store) as captioner:
        version = await store.resolve("city")
        options = CaptionOptions(3, GenerationOptions())
        await captioner.caption(CaptionRequest(changing(40.0), version, options, Stopwatch()), listener=told.append)
    assert told[-1].done == 1.0
    assert all(one.segments == () for one in told)


async def test_no_similar_captions_can_be_asked_for(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(), store, recording(tone()), similar=0)
    assert (made.similar, made.text) == ((), "Heard")


async def test_more_similar_captions_than_neighbours_do_not_widen_the_support(store: MemoryStore) -> None:
    projection = ReversingProjection()
    bundle = FakeBundle(projection=projection, retrieval=RetrievalSection(k=1, neighbours=2))
    made = await caption_once(bundle, store, recording(tone()), similar=4)
    assert len(made.similar) == 4
    assert projection.support == [2]


async def test_a_switch_during_a_request_does_not_reach_it(store: MemoryStore) -> None:
    async with captioning(FakeBundle(), store) as captioner:
        version = await store.resolve("city")
        await store.put("city", ["tone 4 anew"], CLAP.embed_text(["tone 4 anew"]), CLAP.fingerprint)
        options = CaptionOptions(1, GenerationOptions())
        old = await captioner.caption(CaptionRequest(recording(tone()), version, options, Stopwatch()))
        assert (old.text, old.version.version) == ("Heard: tone 4", "v1")
        new = await caption(captioner, store, recording(tone()))
        assert (new.text, new.version.version) == ("Heard: tone 4 anew", "v2")


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
            await caption(captioner, store, recording(tone()))
            await caption(captioner, store, recording(tone()))
    assert store.read == ["v1", "v2"]


class ManyMinded(FakeDecoder):
    """Ends with several captions, the likeliest of them unlike the sound."""

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        return [Generated("a bell rings", 3, ("rain falls", "tone 10")) for _ in prompts]


async def test_of_several_captions_the_one_most_like_the_sound_is_answered(store: MemoryStore) -> None:
    made = await caption_once(FakeBundle(decoder=ManyMinded()), store, recording(tone(hertz=1000.0)))
    assert made.text == "tone 10"
