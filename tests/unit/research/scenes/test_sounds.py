import csv
import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from examples.make_audio import rendered
from examples.sounds import SOUNDS
from research.scenes.phrases import read_phrases
from research.scenes.sounds import (
    CHARACTERS,
    RATE,
    RENDERED,
    SceneError,
    Source,
    active_loudness,
    fitted,
    held_out_sources,
    rendered_sources,
    trimmed,
)
from tests.recordings import tone
from tests.scene_parts import scene_source


def _list(folder: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """An audio.csv of (file, set, split, label)."""
    path = folder / "audio.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "set", "split", "label", "captions_json", "licence"))
        table.writerows((*row, "", "CC0") for row in rows)
    return path


def test_only_clips_of_esc10_that_were_held_out_are_used(tmp_path: Path) -> None:
    for name in ("heard.wav", "trained.wav", "other.wav"):
        soundfile.write(tmp_path / name, tone(0.5), 16_000)
    path = _list(
        tmp_path,
        [
            ("heard.wav", "esc10", "dev", "rooster"),
            ("trained.wav", "esc10", "train", "rooster"),
            ("other.wav", "captioned:clotho_v2", "dev", ""),
        ],
    )
    (source,) = held_out_sources(path)
    assert (source.sound, source.name) == ("rooster", "heard.wav")
    assert len(source.samples) == pytest.approx(RATE / 2, abs=RATE // 20)
    assert active_loudness(source.samples) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("gone.wav", "esc10", "dev", "rain")], "gone.wav: cannot be read"),
        ([("text.wav", "esc10", "dev", "rain")], "text.wav: cannot be read"),
        ([("silence.wav", "esc10", "dev", "rain")], "silence.wav: nothing to hear"),
        ([("silence.wav", "esc10", "dev", "accordion")], "no phrases for the label 'accordion'"),
        ([("silence.wav", "esc10", "train", "rain")], "no clip of the set esc10 in the split dev"),
    ],
)
def test_a_clip_that_cannot_be_used_is_named(
    tmp_path: Path, rows: list[tuple[str, str, str, str]], problem: str
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 16_000)
    (tmp_path / "text.wav").write_text("not a recording", encoding="utf-8")
    with pytest.raises(SceneError, match=re.escape(problem)):
        held_out_sources(_list(tmp_path, rows))


def test_a_list_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audio.csv").write_text("file,set\na.wav,esc10\n", encoding="utf-8")
    with pytest.raises(SceneError, match="no column 'split'"):
        held_out_sources(tmp_path / "audio.csv")


def test_renderings_are_none_of_the_shipped_recordings_and_differ_from_one_another() -> None:
    first, second = rendered_sources(2, ["birds"])
    shipped = trimmed(rendered("birds"))
    for one, other in combinations((first.samples, second.samples, shipped / active_loudness(shipped)), 2):
        length = min(len(one), len(other))
        assert abs(np.corrcoef(one[:length], other[:length])[0, 1]) < 0.5


def test_every_rendered_sound_has_a_recipe_and_every_sound_has_phrases() -> None:
    assert set(RENDERED.values()) <= set(SOUNDS)
    assert set(read_phrases()) == set(CHARACTERS) >= set(RENDERED)


def test_silence_at_the_ends_is_trimmed_and_inside_kept() -> None:
    sound, pause = tone(0.5, RATE).astype(np.float64), np.zeros(RATE // 2)
    whole = trimmed(np.concatenate([pause, sound, pause, sound, pause, pause]))
    assert len(whole) == pytest.approx(1.5 * RATE, abs=RATE // 10)
    assert len(trimmed(pause)) == 0


def test_loudness_counts_only_what_is_heard() -> None:
    sound = tone(1.0, RATE).astype(np.float64)
    assert active_loudness(np.concatenate([sound, np.zeros(3 * RATE)])) == pytest.approx(active_loudness(sound))


def test_a_lasting_sound_goes_on_without_a_pause_and_an_event_is_repeated_with_pauses() -> None:
    rng = np.random.default_rng(0)
    rain, dog = (fitted(scene_source(sound, 0.8), 8 * RATE, rng) for sound in ("rain", "dog bark"))
    assert len(rain) == len(dog) == 8 * RATE
    loud_rain, loud_dog = (np.abs(part[: -RATE // 20]).reshape(-1, 441).max(axis=1) > 0.1 for part in (rain, dog))
    assert loud_rain.mean() > 0.95
    assert 0.3 < loud_dog.mean() < 0.9
    starts = int(loud_dog[0]) + sum(b and not a for a, b in pairwise(loud_dog))
    assert 4 <= starts <= 8


def test_the_lively_part_of_a_long_clip_is_taken() -> None:
    sound = tone(2.0, RATE).astype(np.float64)
    source = Source("dog bark", "late", np.concatenate([sound[:4_410], np.zeros(4 * RATE), sound]))
    part = fitted(source, 2 * RATE, np.random.default_rng(0))
    assert np.sqrt((part**2).mean()) > 0.9 * np.sqrt((sound**2).mean())
