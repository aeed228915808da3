import numpy as np
import pytest

from evaluation.domains import Domain
from evaluation.reconstruction import NEAR_COPY, CorpusTooSmall, blurred, reconstruct
from tests.evaluation_parts import BUNDLE, CITY, CLAP, held_out, quiet

pytestmark = pytest.mark.usefixtures("no_java")


async def everything(one: Domain) -> list[str]:
    return [near.caption for near in (await one.near(CLAP.embed_text(["tone"]), None))[0]]


async def test_neither_a_drawn_caption_nor_a_near_copy_of_one_is_among_the_rest() -> None:
    # The bag of words of a doubled caption has the direction of the caption.
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
