import pytest

from evaluation.ablation import ablate, against_nearest
from evaluation.arms import FULL, NEAREST, ablation_arms
from evaluation.domains import Domain
from evaluation.pipeline import caption, trials
from models.bundle.loaded import LoadedBundle
from tests.evaluation_parts import CAPTIONS, QUERIES, ReadingDecoder, SearchedStore, queries, quiet

pytestmark = pytest.mark.usefixtures("no_java")


async def test_an_ablation_searches_once_a_sound_for_all_arms_but_the_exact_one(
    bundle: LoadedBundle, store: SearchedStore, domain: Domain
) -> None:
    await caption(trials(ablation_arms(bundle), domain), queries(), bundle, quiet())
    assert store.searches == [3, 1, 1, 1]
    assert store.limits == [128, *[len(CAPTIONS)] * 3]


async def test_an_ablation_reports_every_arm_against_the_full_method(bundle: LoadedBundle, domain: Domain) -> None:
    report = await ablate(queries(), domain, bundle, 1, quiet())
    assert report.baseline == FULL
    assert [row.name for row in report.rows] == [one.name for one in ablation_arms(bundle)]
    assert report.clips[0][NEAREST] == (await domain.near(QUERIES[:1], 1))[0][0].caption
    assert report.clips[0]["vector only"] == "Heard"
    assert report.facts["domain"] == f"city, {len(CAPTIONS)} captions"
    assert "vector only" in report.differences


async def test_captions_stand_beside_the_nearest_caption(
    bundle: LoadedBundle, domain: Domain, decoder: ReadingDecoder
) -> None:
    report = await against_nearest(queries(), domain, bundle, 2, quiet())
    assert [row.name for row in report.rows] == [NEAREST, "drcap"]
    assert report.baseline == NEAREST
    assert report.clips[1]["drcap"] == f"Heard: {report.clips[1][NEAREST]}"
    assert {options.num_beams for options in decoder.options} == {2}
    assert report.rows[0].measures.overall["verbatim"].value == 1.0
