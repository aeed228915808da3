"""Each benchmark at a tiny size: the shape of its JSON, and numbers that must agree whatever the machine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import datastore, hearing, projection, registration
from benchmarks.__main__ import app
from benchmarks.captions import TooFewCaptions, load_captions
from benchmarks.exact import exact_all, exact_numpy
from benchmarks.report import Report
from benchmarks.vectors import FloatArray, extend, heard, unit
from tests.fakes import FakeClap


def _vectors(count: int = 100, dimension: int = 16) -> FloatArray:
    return unit(np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32))


def _written(report: Report, folder: Path) -> dict[str, Any]:
    report.write(folder / "out" / "report.json")
    document: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    assert document["format"] == 1
    assert document["machine"]["cores"] >= 1
    assert document["rows"]
    return document


def test_projection_compares_with_the_exact_one_and_times_both(tmp_path: Path) -> None:
    settings = projection.ProjectionSettings((60, 120), (16,), (0.05, 0.5), (50,), queries=5)
    report = Report("projection", vars(settings))
    projection.run(_vectors(), settings, report, Console(quiet=True))
    rows = _written(report, tmp_path)["rows"]
    cosines = [row for row in rows if "worst" in row]
    assert len(cosines) == 2 * 2 * 2
    assert all(row["worst"] <= row["mean"] <= 1.00001 for row in cosines)
    timed = [row for row in rows if "p50_ms" in row]
    assert [(row["what"], row["captions"]) for row in timed] == [
        ("projection alone", 60),
        ("query and projection", 60),
        ("projection alone", 120),
        ("query and projection", 120),
    ]
    assert all(row["numpy_ratio"] == pytest.approx(row["numpy_p50_ms"] / row["p50_ms"]) for row in timed)


def test_the_exact_projection_of_many_queries_is_that_of_each_alone() -> None:
    support, queries = _vectors(40_000), _vectors(3)
    exact = exact_all(queries, support, [0.07], 4)
    for row, query in enumerate(queries):
        np.testing.assert_allclose(exact.projected[0.07][row], exact_numpy(query, support, 0.07), atol=1e-4)
        assert list(exact.rows[row]) == list(np.argsort(-(support @ query), kind="stable")[:4])


def test_the_embedded_store_and_local_mode_find_what_brute_force_finds(tmp_path: Path) -> None:
    settings = datastore.DatastoreSettings((80, 120), dimension=16, queries=4, local_captions=80)
    report = Report("datastore", vars(settings))
    datastore.run(_vectors(), settings, report, Console(quiet=True))
    document = _written(report, tmp_path)
    rows = {(row["what"], row["captions"]): row for row in document["rows"]}
    assert {("embedded", 80), ("embedded", 120), ("qdrant-client local", 80)} <= set(rows)
    assert all(rows[key]["recall"] == 1.0 for key in rows if key[0] != "faiss hnsw")
    assert rows["embedded", 80]["query_ratio"] == 1.0
    assert any(note.startswith("qdrant-client local is left out at 120") for note in document["notes"])


def test_registration_embeds_only_what_changed(tmp_path: Path) -> None:
    clap = FakeClap()
    report = Report("registration", {})
    settings = registration.RegistrationSettings(changed=0.1)
    registration.run(load_captions(None, 100), clap, clap.embed_text, settings, report, Console(quiet=True))
    rows = {row["what"]: row for row in _written(report, tmp_path)["rows"]}
    assert rows["ours, afresh"]["embedded"] == 90
    assert rows["ours, 10% changed"]["embedded"] == 10
    assert rows["ours, afresh"]["times_ours_afresh"] == 1.0
    assert {"loop, qdrant-client local", "loop, embedded store"} <= set(rows)


def test_a_support_holds_the_vectors_given_and_then_their_relations() -> None:
    vectors = _vectors(50)
    support = extend(vectors, 120, 16)
    np.testing.assert_allclose(support[:50], vectors, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(support, axis=1), 1.0, atol=1e-5)
    cosines = np.sum(support[50:100] * vectors, axis=1)
    assert 0.7 < cosines.mean() < 0.99


def test_queries_with_more_dimensions_stay_near_their_captions() -> None:
    vectors = _vectors(200)
    support, queries = extend(vectors, 200, 24), heard(vectors, 24)
    assert support.shape == queries.shape == (200, 24)
    own = np.sum(support * queries, axis=1).mean()
    assert own > np.mean(support @ queries.T) + 0.2


def test_generated_captions_differ_and_are_the_same_every_time() -> None:
    captions = load_captions(None, 500)
    assert len(set(captions)) == 500
    assert captions == load_captions(None, 500)


def test_a_corpus_with_too_few_captions_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "few.txt"
    corpus.write_text("Rain falls.\nA dog barks.\n")
    assert sorted(load_captions(corpus, 2)) == ["A dog barks.", "Rain falls."]
    with pytest.raises(TooFewCaptions, match="holds 2 captions and 3 are needed"):
        load_captions(corpus, 3)


@pytest.mark.parametrize("subject", ["projection", "datastore", "registration"])
def test_every_subject_explains_its_options(subject: str) -> None:
    shown = CliRunner().invoke(app, [subject, "--help"], env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert all(option in shown.output for option in ("--json", "--corpus", "--captions"))


def test_a_corpus_that_is_too_small_ends_with_a_message(tmp_path: Path) -> None:
    corpus = tmp_path / "few.txt"
    corpus.write_text("Rain falls.\n")
    failed = CliRunner().invoke(app, ["registration", "--corpus", str(corpus)], env={"COLUMNS": "200"})
    assert failed.exit_code == 2
    assert "holds 1 captions" in failed.output


def test_hearing_is_timed_beside_its_plain_form_and_the_vectors_are_compared() -> None:
    report = Report("hearing", {})
    windows = [np.sin(np.arange(1_600, dtype=np.float32) * pitch) for pitch in (0.1, 0.2)]
    hearing.run(FakeClap(), FakeClap(), windows, hearing.HearingSettings(rounds=2), report)
    assert [row["what"] for row in report.rows] == ["plain", "fast"]
    assert all(float(str(row["s_a_window"])) > 0 for row in report.rows)
    assert "2 windows; vectors differ by 0.0e+00 at most, cosine at least " in report.notes[0]
