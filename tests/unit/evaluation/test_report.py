"""The JSON, the Markdown and the picture of a report."""

import json
import logging
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.intervals import Figure, bootstrap
from evaluation.metrics import Measures
from evaluation.report import Report, Row


def measures(cider: list[float], **overall: Figure) -> Measures:
    values = np.array(cider)
    per_clip = {"cider": values, "sentence_similarity": values / 10}
    return Measures(per_clip, {name: bootstrap(of_clip) for name, of_clip in per_clip.items()} | overall)


def report(**changes: Any) -> Report:
    parts: dict[str, Any] = {
        "title": "Two systems",
        "facts": {"domain": "sea", "clips": 3},
        "rows": [Row("nearest", measures([0.1, 0.2, 0.3])), Row("full", measures([0.5, 0.7, 0.6]), note="beam 4")],
        "baseline": "nearest",
        "clips": [
            {"file": f"{clip}.wav", "references": ["Waves."], "nearest": "Rain", "full": f"Wave {clip}"}
            for clip in range(3)
        ],
    }
    return Report(**(parts | changes))


def test_the_json_holds_every_value_and_reads_back(tmp_path: Path) -> None:
    report().write(tmp_path / "new")
    told = json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8"))
    full = told["rows"][1]
    assert (told["facts"], told["baseline"]) == ({"domain": "sea", "clips": 3}, "nearest")
    assert (full["name"], full["note"], full["per_clip"]["cider"]) == ("full", "beam 4", [0.5, 0.7, 0.6])
    assert full["overall"]["cider"]["value"] == pytest.approx(0.6)
    assert told["differences"]["full"]["cider"]["value"] == pytest.approx(0.4)
    assert told["clips"][2]["full"] == "Wave 2"


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    row = Row("one", measures([0.1, 0.2], bleu4=Figure(0.3, float("nan"), float("inf"))))
    report(rows=[row], baseline=None, facts={"tau": float("nan"), "seed": np.float32(1.5)}, clips=[]).write(tmp_path)
    told = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert told["rows"][0]["overall"]["bleu4"] == {"value": 0.3, "low": None, "high": None}
    assert told["facts"] == {"tau": None, "seed": 1.5}
    assert "| 0.300 |" in (tmp_path / "report.md").read_text()


def test_the_table_has_a_row_a_system_and_columns_only_for_what_was_measured() -> None:
    lines = report().markdown().splitlines()
    assert "|  | CIDEr | sentence similarity |" in lines
    assert any(line.startswith("| nearest | 0.200 [") for line in lines)
    assert any(line.startswith("| full | 0.600 [") for line in lines)
    assert "- full: beam 4" in lines


def test_a_metric_that_one_row_lacks_leaves_its_cell_empty() -> None:
    rows = [Row("one", measures([0.1, 0.2], meteor=Figure(0.3, 0.2, 0.4))), Row("two", measures([0.1, 0.2]))]
    text = report(rows=rows, baseline=None).markdown()
    assert "| CIDEr | METEOR |" in text
    assert next(line for line in text.splitlines() if line.startswith("| two")).count("–") == 1


def test_only_differences_whose_interval_excludes_zero_are_bold() -> None:
    unsure = Row("unsure", measures([0.3, 0.1, 0.3]))
    worse = Row("worse", measures([0.0, 0.1, 0.1]))
    text = report(rows=[*report().rows, unsure, worse]).markdown()
    compared = text.split("## Difference from nearest")[1]
    assert "| full | **+0.400 [" in compared
    assert "| unsure | +0.033 [" in compared
    assert "| worse | **-0.133 [" in compared


def test_without_a_baseline_nothing_is_compared() -> None:
    assert "Difference" not in report(baseline=None).markdown()


def test_at_most_twenty_clips_are_shown() -> None:
    clips = [{"file": f"{clip}.wav", "references": [], "full": "Waves"} for clip in range(30)]
    text = report(clips=clips).markdown()
    assert "**19.wav**" in text
    assert "20.wav" not in text
    assert "The first 20 of 30 clips" in text


def test_text_that_looks_like_markdown_stays_in_its_place() -> None:
    row = Row("a|b", measures([0.1, 0.2]))
    clips = [{"file": "x.wav", "references": [], "a|b": "# loud\n| *dog* <b>"}]
    text = report(rows=[row], baseline=None, clips=clips).markdown()
    assert r"| a\|b | 0.150" in text
    assert r"- a\|b: \# loud \| \*dog\* \<b\>" in text


def test_what_was_left_out_is_said_once_with_the_reason() -> None:
    left_out = Measures({"cider": np.array([0.1])}, {"cider": Figure(0.1, 0.1, 0.1)}, {"spice": "no jar"})
    text = report(rows=[Row("one", left_out), Row("two", left_out)], baseline=None).markdown()
    assert text.count("- spice is omitted: no jar") == 1


def test_the_picture_is_a_png_of_twelve_hundred_pixels_and_the_markdown_shows_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra eval is not installed")
    report(title="Costs $1 and $2 ^").write(tmp_path)
    head = (tmp_path / "report.png").read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert struct.unpack(">I", head[16:20]) == (1200,)
    assert "(report.png)" in (tmp_path / "report.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md", "report.png"]


def test_without_matplotlib_the_rest_is_written_and_an_old_picture_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    (tmp_path / "report.png").write_bytes(b"old")
    with caplog.at_level(logging.WARNING):
        report().write(tmp_path)
    assert "pip install drcap[eval]" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    assert "report.png" not in (tmp_path / "report.md").read_text()


def test_a_write_that_fails_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.json").write_text("old")

    def fail(self: Path, text: str, encoding: str) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="no space"):
        report().write(tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("report.json", b"old")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": []}, "needs a row"),
        ({"baseline": "other"}, "'other' is not among the rows: nearest, full"),
        ({"rows": [Row("one", measures([0.1])), Row("one", measures([0.2]))], "baseline": None}, "one name"),
        ({"rows": [Row("one", measures([0.1])), Row("two", measures([0.2, 0.3]))], "baseline": None}, "unlike numbers"),
    ],
)
def test_a_report_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report(**changes)
