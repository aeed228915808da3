import pytest

from evaluation.domains import Domain
from evaluation.swap import SOURCE, TARGET, swap, swap_text
from tests.evaluation_parts import BUNDLE, CITY, FOREST, domain_of, held_out, quiet, sounds

pytestmark = pytest.mark.usefixtures("no_java")


async def test_a_swap_captions_the_same_sounds_in_the_words_of_each_domain(city: Domain) -> None:
    report = await swap(sounds(["tone 3", "tone 7"]), city, await domain_of(FOREST, "forest"), BUNDLE, 1, quiet())
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
