from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evaluation.arms import FULL, NEAREST, Arm, ablation_arms, shipped_arm
from evaluation.domains import Domain
from evaluation.pipeline import Trial, caption
from models.bundle.config import RetrievalSection
from models.bundle.loaded import LoadedBundle
from models.decoder import GenerationOptions
from models.prompt import Prompt
from models.vectors import FloatArray
from tests.evaluation_parts import CAPTIONS, CLAP, QUERIES, ReadingDecoder, queries, quiet


def arm(bundle: LoadedBundle, name: str) -> Arm:
    return next(one for one in ablation_arms(bundle) if one.name == name)


async def prompts(one: Arm, bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder) -> list[Prompt]:
    decoder.prompts.clear()
    await caption([Trial(one.name, one, domain)], queries(), bundle, quiet())
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
    assert len(shipped) == 4
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
