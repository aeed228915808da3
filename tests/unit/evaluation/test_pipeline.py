from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from datastores.base import FingerprintMismatch
from datastores.corpus.reader import CorpusError, CorpusLimits
from evaluation.arms import SHIPPED, nearest_arm, shipped_arm
from evaluation.clips import Clip
from evaluation.domains import Domain, corpus_domain, open_domain
from evaluation.pipeline import NoReferences, Sounds, Trial, caption, evaluate, hear
from evaluation.reconstruction import NEAR_COPY, CorpusTooSmall, HeldOut, blurred, hold_out, reconstruct
from evaluation.swap import SOURCE, TARGET, swap, swap_text
from models.bundle.config import RetrievalSection
from models.conditioning.projection import Projection
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.memory_store import MemoryStore
from tests.recordings import tone

CLAP = FakeClap()
BUNDLE = FakeBundle(
    clap=CLAP,
    projection=Projection(0.1),
    retrieval=RetrievalSection(k=2, neighbours=8),
    generation=GenerationOptions(num_beams=2),
)
CITY = [f"tone {number} in the city" for number in range(40)]
FOREST = [f"tone {number} deep between old trees" for number in range(40)]


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.java.which", lambda _: None)


async def domain(captions: Sequence[str], name: str) -> Domain:
    store = MemoryStore()
    await store.put(name, captions, CLAP.embed_text(captions), CLAP.fingerprint)
    return await open_domain(store, name, CLAP)


@pytest.fixture
async def city() -> Domain:
    return await domain(CITY, "city")


def sounds(texts: Sequence[str]) -> Sounds:
    return Sounds(tuple(texts), tuple((text,) for text in texts), CLAP.embed_text(texts))


def quiet() -> Progress:
    return Progress(disable=True)


class BatchedDecoder(FakeDecoder):
    """Remembers the size of its batches, and ends its beam search with a caption that names the city."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.batches.append(len(prompts))
        return [Generated("noise", 1, (p.similar_captions[0],)) for p in prompts]


def test_a_clip_is_heard_as_the_renormalised_mean_of_its_windows() -> None:
    windows = {"a.wav": [tone(2.0, hertz=400), tone(1.0, hertz=1000)], "b.wav": [tone(hertz=2000)]}
    clips = [Clip(Path(name), ("a tone",)) for name in windows]
    heard = hear(clips, lambda path: windows[path.name], CLAP, quiet())
    mean = CLAP.embed_audio(windows["a.wav"]).mean(axis=0)
    np.testing.assert_allclose(heard.vectors[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(heard.vectors[1], CLAP.embed_text(["tone 20"])[0], atol=1e-6)
    assert (heard.names, heard.references[1], heard.heard) == (("a.wav", "b.wav"), ("a tone",), True)


def test_a_recording_that_cannot_be_read_ends_the_hearing() -> None:
    def listen(path: Path) -> Sequence[FloatArray]:
        raise OSError(f"{path} is damaged")

    with pytest.raises(OSError, match=r"a\.wav is damaged"):
        hear([Clip(Path("a.wav"), ("a tone",))], listen, CLAP, quiet())


async def test_captions_come_in_the_order_of_the_sounds_whatever_their_number(
    city: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluation.pipeline._PROMPTS_AT_ONCE", 8)
    texts = [CITY[number] for number in (30, 2, 17, *range(15))]
    decoder = BatchedDecoder()
    row = Trial("drcap", shipped_arm(BUNDLE), city)
    said = await caption([row], sounds(texts), replace(BUNDLE, decoder=decoder), quiet())
    assert [one.caption for one in said["drcap"]] == texts
    assert decoder.batches == [8, 8, 2]
    assert said["drcap"][0].retrieved[0] == texts[0]
    assert len(said["drcap"][0].retrieved) == 2


async def test_only_an_arm_that_reranks_lets_the_sound_choose(city: Domain) -> None:
    arm = shipped_arm(BUNDLE)
    rows = [Trial("chosen", arm, city), Trial("likeliest", replace(arm, rerank=False), city)]
    said = await caption(rows, sounds(CITY[:1]), replace(BUNDLE, decoder=BatchedDecoder()), quiet())
    assert [said[row.name][0].caption for row in rows] == [CITY[0], "noise"]


async def test_an_arm_without_captions_is_held_against_those_the_bundle_would_show(city: Domain) -> None:
    row = Trial("vector only", replace(shipped_arm(BUNDLE), similar=0), city)
    said = await caption([row], sounds(CITY[:1]), BUNDLE, quiet())
    assert len(said["vector only"][0].retrieved) == 2


async def test_references_without_a_word_are_refused_before_anything_is_captioned(city: Domain) -> None:
    decoder = BatchedDecoder()
    odd = Sounds(("a.wav",), (("...",),), CLAP.embed_text(["tone 1"]))
    with pytest.raises(NoReferences, match="has a word"):
        await evaluate(
            "t", [Trial(SHIPPED, shipped_arm(BUNDLE), city)], SHIPPED, odd, replace(BUNDLE, decoder=decoder), quiet()
        )
    assert decoder.batches == []


async def test_audio_has_a_clap_score_and_captions_in_its_place_have_none(city: Domain) -> None:
    rows = [Trial("nearest", nearest_arm(BUNDLE), city)]
    heard = sounds(CITY[:3])
    audio = await evaluate("t", rows, "nearest", heard, BUNDLE, quiet())
    text = await evaluate("t", rows, "nearest", replace(heard, heard=False), BUNDLE, quiet())
    assert audio.rows[0].measures.overall["clap_score"].value == pytest.approx(1.0)
    assert "clap_score" not in text.rows[0].measures.overall


async def test_a_domain_of_another_clap_is_refused(city: Domain) -> None:
    other = FakeClap()
    other.fingerprint = "other"
    with pytest.raises(FingerprintMismatch, match=r"'fake-1'.*'other'"):
        await open_domain(city.store, "city", other)


class CountingClap(FakeClap):
    """Counts the texts it embeds."""

    def __init__(self) -> None:
        self.embedded = 0

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        self.embedded += len(texts)
        return super().embed_text(texts)


async def test_a_corpus_is_embedded_once_as_long_as_its_content_and_the_clap_stay(tmp_path: Path) -> None:
    file, clap = tmp_path / "city.txt", CountingClap()
    file.write_text("\n".join(CITY))

    async def captions() -> int:
        async with corpus_domain(file, tmp_path / "cache", clap, CorpusLimits(), quiet()) as made:
            return made.version.captions

    assert (await captions(), clap.embedded) == (40, 40)
    assert (await captions(), clap.embedded) == (40, 40)
    file.write_text("tone 1\ntone 2\n")
    assert (await captions(), clap.embedded) == (2, 42)
    clap.fingerprint = "fake-2"
    assert (await captions(), clap.embedded) == (2, 44)


async def test_a_damaged_corpus_is_named_and_nothing_of_it_is_embedded(tmp_path: Path) -> None:
    file, clap = tmp_path / "city.txt", CountingClap()
    file.write_bytes("\n".join(CITY).encode() + b"\n\xff\xfe\n")
    with pytest.raises(CorpusError, match=r"city\.txt: "):
        async with corpus_domain(file, tmp_path / "cache", clap, CorpusLimits(), quiet()):
            pass
    assert clap.embedded == 0


async def held_out(captions: Sequence[str], count: int, **options: float) -> HeldOut:
    return await hold_out(await domain(captions, "whole"), MemoryStore(), CLAP, count, **options)  # type: ignore[arg-type]


async def everything(one: Domain) -> list[str]:
    return [near.caption for near in (await one.near(CLAP.embed_text(["tone"]), None))[0]]


async def test_neither_a_drawn_caption_nor_a_near_copy_of_one_is_among_the_rest() -> None:
    # The bag of words of a caption said twice points where the caption does.
    copies = [f"{text} {text}" for text in CITY]
    held = await held_out([*CITY, *copies], 10)
    drawn = {texts[0] for texts in held.sounds.references}
    rest = await everything(held.rest)
    assert len(drawn) == 10
    assert not drawn & set(rest)
    assert (CLAP.embed_text(rest) @ held.sounds.vectors.T).max() < NEAR_COPY
    assert len(rest) + held.copies + 10 == 80
    assert held.copies > 0
    assert held.rest.statistics.count == len(rest)


async def test_the_same_seed_draws_the_same_captions() -> None:
    first, again, other = [await held_out(CITY, 5, seed=seed) for seed in (1, 1, 2)]
    assert first.sounds.references == again.sounds.references
    assert first.sounds.references != other.sounds.references


async def test_more_captions_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(CorpusTooSmall, match="has 40 captions, of which 41 cannot be drawn"):
        await held_out(CITY, 41)
    with pytest.raises(CorpusTooSmall, match="nothing is left"):
        await held_out(CITY, 40)


def test_noise_takes_a_vector_as_far_as_its_ratio_says() -> None:
    vectors = np.repeat(np.eye(1, 384, dtype=np.float32), 200, axis=0)
    noisy = blurred(vectors, 0.8, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(noisy, axis=1), 1.0, atol=1e-5)
    assert noisy[:, 0].mean() == pytest.approx(1 / np.sqrt(1.64), abs=0.01)
    assert blurred(vectors, 0.0, np.random.default_rng(0)) is vectors


async def test_a_reconstruction_is_measured_against_its_own_caption() -> None:
    report = await reconstruct(await held_out(CITY, 6), BUNDLE, 1, quiet())
    assert [row.name for row in report.rows] == ["nearest caption", "vector only", "full method"]
    for clip in report.clips:
        assert clip["full method"] == f"Heard: {clip['nearest caption']}"
        assert clip["vector only"] == "Heard"
        assert len(clip["references"]) == 1
        assert clip["nearest caption"] not in clip["references"]
    assert (report.facts["clips"], report.facts["similarity of a near copy"]) == (6, NEAR_COPY)


async def test_a_swap_captions_the_same_sounds_in_the_words_of_each_domain(city: Domain) -> None:
    report = await swap(sounds(["tone 3", "tone 7"]), city, await domain(FOREST, "forest"), BUNDLE, 1, quiet())
    assert (report.baseline, [row.name for row in report.rows]) == (SOURCE, [SOURCE, TARGET])
    assert report.clips[1][SOURCE] == f"Heard: {CITY[7]}"
    assert report.clips[1][TARGET] == f"Heard: {FOREST[7]}"
    assert report.facts["domains"] == "city, 40 captions; forest, 40 captions"


async def test_a_swap_of_text_has_the_rest_of_the_target_and_says_what_stands_for_audio(city: Domain) -> None:
    held = await held_out(FOREST, 4, noise=0.5)
    report = await swap_text(held, city, BUNDLE, 1, quiet(), 0.5, 0)
    for clip in report.clips:
        assert "in the city" in clip[SOURCE]
        assert "between old trees" in clip[TARGET]
        assert clip[TARGET].removeprefix("Heard: ") not in {texts[0] for texts in held.sounds.references}
    assert "noise of ratio 0.5" in str(report.facts["instead of recordings"])
