"""The benchmark at a tiny size, with the code of the full size, on a CPU."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app


def test_each_engine_is_measured_in_each_way_it_has(tmp_path: Path) -> None:
    options = ["--tiny", "--tokens", "3", "--captions", "50", "--batch", "2", "--device", "cpu", "--way", "int8"]
    options += ["--way", "float32", "--json", str(tmp_path / "report.json")]
    done = CliRunner().invoke(app, ["full-size", *options])
    assert done.exit_code == 0, done.output
    rows = {row["what"]: row for row in json.loads((tmp_path / "report.json").read_text())["rows"]}
    assert set(rows) == {
        *(f"drcap, {way}: {what}" for way in ("int8", "float32") for what in ("load", "one clip", "batch of 2")),
        *(f"transformers, float32: {what}" for what in ("load", "batch of 2")),
    }
    clip = rows["drcap, float32: one clip"]
    assert {"embed_audio_s", "search_s", "projection_s", "generate_s", "tokens", "texts_per_s"} <= set(clip)
    for what, row in rows.items():
        assert row["peak_mb"] >= row["anonymous_mb"] > 50
        if "batch" in what:
            assert row["tokens_per_s"] == pytest.approx(3 * row["captions_per_s"])
            assert row["of_bandwidth"] == pytest.approx(row["read_gb_per_s"] / row["bandwidth_gb_per_s"])
    # int8 has one byte for each parameter, float32 four.
    int8, float32 = (rows[f"drcap, {way}: batch of 2"] for way in ("int8", "float32"))
    per_token = [row["read_gb_per_s"] / row["tokens_per_s"] for row in (int8, float32)]
    assert per_token[1] == pytest.approx(4 * per_token[0])


def test_an_engine_that_fails_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["full-size", "--tiny", "--device", "toaster"])
    assert isinstance(done.exception, RuntimeError)
    assert "toaster" in str(done.exception)
