"""The generated test scenes: which clips they are of, how they are mixed and what is said of them."""

import csv
import json
import re
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer import Typer
from typer.testing import CliRunner

from evaluation.clips import read_clips
from examples.make_audio import rendered
from examples.sounds import SOUNDS
from research.scenes.arrangement import PEAK, SECONDS, Arrangement, allows, mixed, ordered
from research.scenes.captions import REFERENCES, TEMPLATES, WORDS, references
from research.scenes.generate import COLUMNS, main, planned, write_scenes
from research.scenes.phrases import PHRASES
from research.scenes.sounds import (
    CHARACTERS,
    RATE,
    RENDERED,
    Kind,
    Samples,
    SceneError,
    Source,
    active_loudness,
    fitted,
    held_out_sources,
    rendered_sources,
    trimmed,
)
from tests.recordings import tone

_HERTZ = {sound: 200.0 * (number + 1) for number, sound in enumerate(CHARACTERS)}


def _source(sound: str, seconds: float = 1.0, number: int = 0) -> Source:
    """A sine with an active loudness of 1, of a frequency of its own for every sound."""
    samples = tone(seconds, RATE, _HERTZ[sound]).astype(np.float64)
    return Source(sound, f"{sound} {number}", samples / active_loudness(samples))


def _sources(each: int = 2) -> list[Source]:
    return [_source(sound, number=number) for sound in CHARACTERS for number in range(each)]


def _share(samples: Samples, sound: str) -> float:
    """Root mean square of the sine that stands for the sound."""
    time = np.arange(len(samples)) / RATE
    return float(np.sqrt(2) * np.abs(np.mean(samples * np.exp(-2j * np.pi * _HERTZ[sound] * time))))


def _list(folder: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """An audio.csv of (file, set, split, label)."""
    path = folder / "audio.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "set", "split", "label", "captions_json", "licence"))
        table.writerows((*row, "", "CC0") for row in rows)
    return path


def _run(*arguments: str) -> tuple[int, str]:
    app = Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


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


def test_a_missing_list_ends_the_command_with_its_name(tmp_path: Path) -> None:
    code, output = _run("--audio-csv", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out"))
    assert code == 1
    assert "none.csv: No such file or directory" in output
    assert not (tmp_path / "out").exists()


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
    assert set(PHRASES) == set(CHARACTERS) >= set(RENDERED)


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
    rain, dog = (fitted(_source(sound, 0.8), 8 * RATE, rng) for sound in ("rain", "dog bark"))
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


@pytest.mark.parametrize("arrangement", list(Arrangement))
def test_a_scene_is_6_to_12_s_long_and_peaks_at_minus_3_decibels(arrangement: Arrangement) -> None:
    names = ("dog bark", "siren", "rain")[: arrangement.sounds]
    for seed in range(4):
        samples = mixed(arrangement, [_source(name) for name in names], np.random.default_rng(seed))
        assert SECONDS[0] <= len(samples) / RATE <= SECONDS[1]
        assert np.abs(samples).max() == pytest.approx(PEAK)
        assert all(_share(samples, name) > 0.01 for name in names)


def test_a_sequence_is_heard_in_its_order() -> None:
    names = ("siren", "rain", "clock tick")
    samples = mixed(Arrangement.SEQUENCE_OF_THREE, [_source(name) for name in names], np.random.default_rng(0))
    for third, name in zip(np.array_split(samples, 3), names, strict=True):
        assert max(names, key=lambda other: _share(third, other)) == name


def test_sounds_together_are_equally_loud_and_a_background_is_6_to_12_decibels_lower() -> None:
    sources = [_source("siren"), _source("rain")]
    for seed in range(5):
        drops = {}
        for arrangement in (Arrangement.TOGETHER, Arrangement.BACKGROUND):
            samples = mixed(arrangement, sources, np.random.default_rng(seed))
            drops[arrangement] = 20 * np.log10(_share(samples, "siren") / _share(samples, "rain"))
        # Loops and fades move the level of a sine by a little.
        assert abs(drops[Arrangement.TOGETHER]) < 1.5
        assert 5 < drops[Arrangement.BACKGROUND] < 13


def test_sounds_that_cover_each_other_are_never_mixed_but_may_follow_each_other() -> None:
    assert not allows(Arrangement.TOGETHER, ("rain", "chainsaw"))
    assert not allows(Arrangement.BACKGROUND, ("clock tick", "fire crackling"))
    assert not allows(Arrangement.SEQUENCE_OVER, ("dog bark", "siren", "clock tick"))
    assert not allows(Arrangement.SEQUENCE, ("rain", "rain"))
    assert not allows(Arrangement.SEQUENCE, ("rain", "thunderstorm"))
    assert allows(Arrangement.SEQUENCE, ("rain", "chainsaw"))


def test_the_louder_kind_lies_behind_and_two_beds_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    rain, dog, wind = (_source(sound) for sound in ("rain", "dog bark", "wind"))
    assert ordered(Arrangement.BACKGROUND, [rain, dog], rng) == [dog, rain]
    for _ in range(5):
        assert ordered(Arrangement.TOGETHER_THEN, [rain, dog, wind], rng)[0] == dog


def test_a_plan_has_its_shares_of_one_two_and_three_sounds_and_uses_clips_equally_often() -> None:
    sources = _sources(4)
    scenes = list(planned(sources, 200, seed=1))
    assert Counter(len(scene.sources) for scene in scenes) == {1: 70, 2: 90, 3: 40}
    assert {scene.arrangement for scene in scenes} == set(Arrangement)
    assert all(allows(scene.arrangement, scene.sounds) for scene in scenes)
    uses = Counter(source.name for scene in scenes for source in scene.sources)
    assert len(uses) == len(sources)
    assert max(uses.values()) - min(uses.values()) <= 2


def test_sources_of_too_few_sounds_are_refused() -> None:
    with pytest.raises(SceneError, match="can be made of the sounds rain"):
        list(planned([_source("rain")], 20, seed=0))


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("first", 3), ("again", 3), ("other", 4)):
        write_scenes(list(planned(_sources(1), 4, seed)), tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 5
    for file in files:
        first, again, other = ((tmp_path / folder / file).read_bytes() for folder in ("first", "again", "other"))
        assert first == again != other


def test_the_list_names_audio_references_sounds_and_duration_of_every_scene(tmp_path: Path) -> None:
    scenes = list(planned(_sources(1), 6, seed=0))
    write_scenes(scenes, tmp_path)
    with (tmp_path / "scenes.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == [f"audio/scene-{number:04}.flac" for number in range(1, 7)]
    for row, scene in zip(rows, scenes, strict=True):
        assert tuple(row) == COLUMNS
        info = soundfile.info(tmp_path / row["file"])
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        assert float(row["duration"]) == pytest.approx(info.duration, abs=0.001)
        assert json.loads(row["captions_json"]) == list(scene.references)
        assert re.split(r" [>+/] ", re.sub(r"[()]", "", row["sounds"])) == list(scene.sounds)
    assert [clip.references for clip in read_clips(tmp_path / "scenes.csv")] == [s.references for s in scenes]


@pytest.mark.parametrize("arrangement", list(Arrangement))
def test_references_are_distinct_of_allowed_length_and_name_every_sound_in_its_order(arrangement: Arrangement) -> None:
    rng = np.random.default_rng(0)
    in_time = arrangement in (Arrangement.SEQUENCE, Arrangement.SEQUENCE_OF_THREE)
    for _ in range(40):
        sounds = [str(name) for name in rng.choice(list(CHARACTERS), arrangement.sounds, replace=False)]
        texts = references(arrangement, sounds, rng)
        assert len(set(texts)) == REFERENCES
        for text in texts:
            assert WORDS[0] <= len(text.split()) <= WORDS[1], text
            assert text[0].isupper(), text
            assert text.endswith("."), text
            places = [_place(text, sound) for sound in sounds]
            assert all(place >= 0 for place in places), (sounds, text)
            if in_time:
                assert places == sorted(places), (sounds, text)


def test_every_phrase_names_its_sound_and_there_are_enough_of_them() -> None:
    for sound, phrases in PHRASES.items():
        assert len(set(phrases.clauses)) >= 8
        assert len(set(phrases.nouns)) >= 5
        for phrase in (*phrases.clauses, *phrases.nouns):
            assert any(word in phrase for word in phrases.keywords), (sound, phrase)


def test_every_arrangement_has_enough_templates_and_one_that_does_not_tell_the_order_is_not_a_sequence() -> None:
    for arrangement in Arrangement:
        templates = TEMPLATES[arrangement]
        assert len(set(templates)) >= 8
        for template in templates:
            named = re.findall(r"\{[cn](\d)\}", template)
            assert sorted(named) == [str(number) for number in range(arrangement.sounds)], template


def test_only_a_sound_that_is_quieter_is_said_to_be_in_the_background() -> None:
    for arrangement in (Arrangement.ALONE, Arrangement.TOGETHER, Arrangement.SEQUENCE, Arrangement.TOGETHER_THEN):
        for template in TEMPLATES[arrangement]:
            assert not re.search(r"background|distance|\{b", template), template
    for sound, phrases in PHRASES.items():
        said = " ".join((*phrases.clauses, *phrases.nouns, *phrases.manners))
        assert not re.search(r"background|distance|distant|far off", said), sound


def test_small_sounds_are_never_the_background() -> None:
    for one, other in combinations(CHARACTERS, 2):
        if allows(Arrangement.BACKGROUND, (one, other)):
            pair = [_source(one), _source(other)]
            behind = ordered(Arrangement.BACKGROUND, pair, np.random.default_rng(0))[1]
            assert CHARACTERS[behind.sound].kind is not Kind.SMALL


def _place(text: str, sound: str) -> int:
    found = [text.lower().find(phrase) for phrase in (*PHRASES[sound].clauses, *PHRASES[sound].nouns)]
    return min((place for place in found if place >= 0), default=-1)
