from pathlib import Path

from rich.console import Console

from benchmarks import registration
from benchmarks.captions import load_captions
from benchmarks.report import BenchmarkReport
from tests.benchmark_parts import written
from tests.fakes import FakeClap


def test_registration_embeds_only_what_changed(tmp_path: Path) -> None:
    clap = FakeClap()
    report = BenchmarkReport("registration", {})
    settings = registration.RegistrationSettings(changed=0.1)
    registration.run(load_captions(None, 100), clap, clap.embed_text, settings, report, Console(quiet=True))
    rows = {row["what"]: row for row in written(report, tmp_path)["rows"]}
    assert rows["ours, afresh"]["embedded"] == 90
    assert rows["ours, 10% changed"]["embedded"] == 10
    assert rows["ours, afresh"]["times_ours_afresh"] == 1.0
    assert {"loop, qdrant-client local", "loop, embedded store"} <= set(rows)
