"""The benchmark of full size at a tiny size: the code is that of the full one, on a CPU."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.full_size.bundle import TINY, Sizes, write_bundle
from models.bundle.check import check_bundle


def test_the_bundle_is_whole(tmp_path: Path) -> None:
    write_bundle(tmp_path, TINY)
    checked = check_bundle(tmp_path)
    assert checked.problems == []
    assert checked.llm is not None
    assert (checked.embedding_dim, checked.llm.hidden) == (16, 32)


def test_the_full_sizes_are_those_of_a_llama_of_a_billion_parameters() -> None:
    sizes = Sizes()
    head = sizes.hidden // sizes.heads
    attention = 2 * sizes.hidden * (sizes.hidden + head * sizes.key_value_heads)
    layer = attention + 3 * sizes.hidden * sizes.inner + 2 * sizes.hidden
    assert sizes.vocabulary * sizes.hidden + sizes.layers * layer + sizes.hidden == pytest.approx(1.236e9, rel=1e-3)


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
    # Three bytes of four fewer for each parameter.
    int8, float32 = (rows[f"drcap, {way}: batch of 2"] for way in ("int8", "float32"))
    per_token = [row["read_gb_per_s"] / row["tokens_per_s"] for row in (int8, float32)]
    assert per_token[1] == pytest.approx(4 * per_token[0])


def test_an_engine_that_fails_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["full-size", "--tiny", "--device", "toaster"])
    assert isinstance(done.exception, RuntimeError)
    assert "toaster" in str(done.exception)
