import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from typer import Typer
from typer.testing import CliRunner

from evaluation.clips import read_clips
from research.scenes.arrangement import Arrangement, allows
from research.scenes.generate import COLUMNS, main, planned, write_scenes
from research.scenes.sounds import (
    RATE,
    SceneError,
)
from tests.scene_parts import scene_source, scene_sources


def _run(*arguments: str) -> tuple[int, str]:
    app = Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_a_missing_list_ends_the_command_with_its_name(tmp_path: Path) -> None:
    code, output = _run("--audio-csv", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out"))
    assert code == 1
    assert "none.csv: No such file or directory" in output
    assert not (tmp_path / "out").exists()


def test_a_plan_has_its_shares_of_one_two_and_three_sounds_and_uses_clips_equally_often() -> None:
    sources = scene_sources(4)
    scenes = list(planned(sources, 200, seed=1))
    assert Counter(len(scene.sources) for scene in scenes) == {1: 70, 2: 90, 3: 40}
    assert {scene.arrangement for scene in scenes} == set(Arrangement)
    assert all(allows(scene.arrangement, scene.sounds) for scene in scenes)
    uses = Counter(source.name for scene in scenes for source in scene.sources)
    assert len(uses) == len(sources)
    assert max(uses.values()) - min(uses.values()) <= 2


def test_sources_of_too_few_sounds_are_refused() -> None:
    with pytest.raises(SceneError, match="can be made of the sounds rain"):
        list(planned([scene_source("rain")], 20, seed=0))


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("first", 3), ("again", 3), ("other", 4)):
        write_scenes(list(planned(scene_sources(1), 4, seed)), tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 5
    for file in files:
        first, again, other = ((tmp_path / folder / file).read_bytes() for folder in ("first", "again", "other"))
        assert first == again != other


def test_the_list_names_audio_references_sounds_and_duration_of_every_scene(tmp_path: Path) -> None:
    scenes = list(planned(scene_sources(1), 6, seed=0))
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
