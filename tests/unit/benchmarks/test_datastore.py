from pathlib import Path

from rich.console import Console

from benchmarks import datastore
from benchmarks.report import BenchmarkReport
from tests.benchmark_parts import unit_vectors, written


def test_the_embedded_store_and_local_mode_find_what_brute_force_finds(tmp_path: Path) -> None:
    settings = datastore.DatastoreBenchmarkSettings((80, 120), dimension=16, queries=4, local_captions=80)
    report = BenchmarkReport("datastore", vars(settings))
    datastore.run(unit_vectors(), settings, report, Console(quiet=True))
    document = written(report, tmp_path)
    rows = {(row["what"], row["captions"]): row for row in document["rows"]}
    assert {("embedded", 80), ("embedded", 120), ("qdrant-client local", 80)} <= set(rows)
    assert all(rows[key]["recall"] == 1.0 for key in rows if key[0] != "faiss hnsw")
    assert rows["embedded", 80]["query_ratio"] == 1.0
    assert any(note.startswith("qdrant-client local is omitted at 120") for note in document["notes"])
