from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.arms import SHIPPED, nearest_arm, shipped_arm
from evaluation.clips import Clip
from evaluation.domains import Domain
from evaluation.pipeline import EvaluatedSounds, NoReferences, Trial, caption, evaluate, hear
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from tests.evaluation_parts import BUNDLE, CITY, CLAP, quiet, sounds
from tests.fakes import FakeDecoder
from tests.recordings import tone

pytestmark = pytest.mark.usefixtures("no_java")


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
    odd = EvaluatedSounds(("a.wav",), (("...",),), CLAP.embed_text(["tone 1"]))
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
