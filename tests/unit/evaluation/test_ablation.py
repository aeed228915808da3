from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rich.progress import Progress

from evaluation.ablation import ablate, against_nearest
from evaluation.arms import FULL, NEAREST, Arm, ablation_arms, shipped_arm
from evaluation.domains import Domain, open_domain
from evaluation.pipeline import Sounds, Trial, caption, trials
from models.bundle.config import RetrievalSection
from models.bundle.loaded import LoadedBundle
from models.conditioning.projection import Projection
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.memory_store import MemoryStore

CLAP = FakeClap()
WORDS = ("tone", "bell", "rain", "wind", "dog", "tram", "owl", "sea", "fire", "clock")
CAPTIONS = [f"{one} and {other} {number}" for number in range(8) for one in WORDS for other in WORDS if one < other]
QUERIES = CLAP.embed_text(["a dog in the rain", "sea and wind", "fire"])


class ReadingDecoder(FakeDecoder):
    """Remembers prompts and options."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.options: list[GenerationOptions] = []

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.prompts += prompts
        self.options += [options] * len(prompts)
        return super().generate(prompts, options, gone)


class SearchedStore(MemoryStore):
    """Remembers how many captions were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[int] = []

    async def search(self, version, vectors, limit):  # type: ignore[no-untyped-def]
        self.limits.append(limit)
        return await super().search(version, vectors, limit)


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.java.which", lambda _: None)


@pytest.fixture
def decoder() -> ReadingDecoder:
    return ReadingDecoder()


@pytest.fixture
def bundle(decoder: ReadingDecoder) -> LoadedBundle:
    return FakeBundle(
        clap=CLAP,
        decoder=decoder,
        projection=Projection(0.1),
        retrieval=RetrievalSection(k=3, neighbours=20),
        generation=GenerationOptions(num_beams=4, max_new_tokens=40),
    )


@pytest.fixture
async def store() -> SearchedStore:
    store = SearchedStore()
    await store.put("city", CAPTIONS, CLAP.embed_text(CAPTIONS), CLAP.fingerprint)
    return store


@pytest.fixture
async def domain(store: SearchedStore) -> Domain:
    return await open_domain(store, "city", CLAP)


def sounds(vectors: FloatArray = QUERIES) -> Sounds:
    names = tuple(f"{number}.wav" for number in range(len(vectors)))
    return Sounds(names, tuple((f"a dog {number}", "the rain") for number in range(len(vectors))), vectors)


def quiet() -> Progress:
    return Progress(disable=True)


def arm(bundle: LoadedBundle, name: str) -> Arm:
    return next(one for one in ablation_arms(bundle) if one.name == name)


async def prompts(one: Arm, bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder) -> list[Prompt]:
    decoder.prompts.clear()
    await caption([Trial(one.name, one, domain)], sounds(), bundle, quiet())
    return decoder.prompts


def vectors(given: Sequence[Prompt]) -> FloatArray:
    return np.stack([prompt.vector for prompt in given])


def over_all(query: FloatArray, tau: float) -> FloatArray:
    """The definition of the projection, over all captions."""
    support = CLAP.embed_text(CAPTIONS).astype(np.float64)
    weights = np.exp(support @ query / tau)
    projected = weights @ support
    return np.asarray(projected / np.linalg.norm(projected), dtype=np.float32)


async def test_captions_only_has_a_vector_of_zeros(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    given = await prompts(arm(bundle, "captions only"), bundle, domain, decoder)
    assert not vectors(given).any()
    assert [len(prompt.similar_captions) for prompt in given] == [3, 3, 3]


async def test_raw_arms_have_the_vector_that_was_heard(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    for name, similar in (("raw vector only", 0), ("raw + captions", 3)):
        given = await prompts(arm(bundle, name), bundle, domain, decoder)
        np.testing.assert_array_equal(vectors(given), QUERIES)
        assert {len(prompt.similar_captions) for prompt in given} == {similar}


async def test_vector_only_is_the_full_method_without_its_captions(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    full = list(await prompts(arm(bundle, FULL), bundle, domain, decoder))
    alone = await prompts(arm(bundle, "vector only"), bundle, domain, decoder)
    np.testing.assert_array_equal(vectors(full), vectors(alone))
    assert all(prompt.similar_captions == () for prompt in alone)
    assert full[0].similar_captions == tuple(one.caption for one in (await domain.near(QUERIES[:1], 3))[0])


async def test_exact_is_the_projection_over_all_captions(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    given = await prompts(arm(bundle, "exact projection"), bundle, domain, decoder)
    np.testing.assert_allclose(vectors(given), [over_all(query, 0.1) for query in QUERIES], atol=1e-5)


async def test_the_tail_brings_the_projection_nearer_to_the_exact_one(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    exact = np.stack([over_all(query, 0.1) for query in QUERIES])
    full = (vectors(await prompts(arm(bundle, FULL), bundle, domain, decoder)) * exact).sum(axis=1)
    bare = (vectors(await prompts(arm(bundle, "top-20 without tail"), bundle, domain, decoder)) * exact).sum(axis=1)
    assert (full > bare).all()


async def test_without_tail_only_the_neighbours_count(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    given = await prompts(arm(bundle, "top-20 without tail"), bundle, domain, decoder)
    near = (await domain.near(QUERIES[:1], 20))[0]
    summed = sum(np.exp(one.score / 0.1) * one.vector.astype(np.float64) for one in near)
    np.testing.assert_allclose(given[0].vector, summed / np.linalg.norm(summed), atol=1e-5)


async def test_the_sweeps_change_tau_and_the_number_of_captions(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    given = await prompts(replace(arm(bundle, "tau x 2"), neighbours=None), bundle, domain, decoder)
    np.testing.assert_allclose(given[0].vector, over_all(QUERIES[0], 0.2), atol=1e-5)
    given = await prompts(arm(bundle, "k = 16"), bundle, domain, decoder)
    assert len(given[0].similar_captions) == 16


def test_no_arm_stands_there_twice(bundle: LoadedBundle) -> None:
    for retrieval in (RetrievalSection(k=8, neighbours=512), RetrievalSection(k=3, neighbours=128)):
        arms = ablation_arms(replace(bundle, retrieval=retrieval))
        assert len({one.name for one in arms}) == len(arms)
        assert len({replace(one, name="", note="") for one in arms}) == len(arms)
    assert "k = 8" not in {
        one.name for one in ablation_arms(replace(bundle, retrieval=RetrievalSection(k=8, neighbours=9)))
    }


def test_only_what_is_named_as_shipped_has_the_beams_of_the_bundle_and_reranks(bundle: LoadedBundle) -> None:
    arms = {one.name: one for one in ablation_arms(bundle)}
    shipped = [arms.pop(name) for name in list(arms) if name.endswith("as shipped")]
    assert len(shipped) == 3
    assert {(one.decode, one.rerank) for one in shipped} == {(bundle.generation, True)}
    assert arms.pop(NEAREST).decode is None
    assert {one.decode for one in arms.values()} == {replace(bundle.generation, num_beams=1)}
    assert not any(one.rerank for one in arms.values())
    assert arms[FULL].decode == replace(bundle.generation, num_beams=1)
    assert arm(replace(bundle, generation=GenerationOptions(temperature=0.7)), "captions only").decode == (
        GenerationOptions()
    )


async def test_the_shipped_arm_prompts_as_the_full_method(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    full = list(await prompts(arm(bundle, FULL), bundle, domain, decoder))
    shipped = await prompts(shipped_arm(bundle), bundle, domain, decoder)
    np.testing.assert_array_equal(vectors(full), vectors(shipped))
    assert decoder.options[-1].num_beams == 4


async def test_an_ablation_searches_once_a_sound_for_all_arms_but_the_exact_one(
    bundle: LoadedBundle, store: SearchedStore, domain: Domain
) -> None:
    await caption(trials(ablation_arms(bundle), domain), sounds(), bundle, quiet())
    assert store.searches == [3, 1, 1, 1]
    assert store.limits == [128, *[len(CAPTIONS)] * 3]


async def test_an_ablation_reports_every_arm_against_the_full_method(bundle: LoadedBundle, domain: Domain) -> None:
    report = await ablate(sounds(), domain, bundle, 1, quiet())
    assert report.baseline == FULL
    assert [row.name for row in report.rows] == [one.name for one in ablation_arms(bundle)]
    assert report.clips[0][NEAREST] == (await domain.near(QUERIES[:1], 1))[0][0].caption
    assert report.clips[0]["vector only"] == "Heard"
    assert report.facts["domain"] == f"city, {len(CAPTIONS)} captions"
    assert "vector only" in report.differences


async def test_captions_stand_beside_the_nearest_caption(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    report = await against_nearest(sounds(), domain, bundle, 2, quiet())
    assert [row.name for row in report.rows] == [NEAREST, "drcap"]
    assert report.baseline == NEAREST
    assert report.clips[1]["drcap"] == f"Heard: {report.clips[1][NEAREST]}"
    assert {options.num_beams for options in decoder.options} == {2}
    assert report.rows[0].measures.overall["verbatim"].value == 1.0
