from pathlib import Path

import pytest

from benchmarks.report import BenchmarkReport
from benchmarks.serving.soak import SoakSettings, soak
from tests.recordings import wav


@pytest.mark.usefixtures("faked")
def test_a_soak_tells_what_is_held_each_minute_and_how_it_grew(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.serving.soak._SAMPLE_SECONDS", 0.05)
    report = BenchmarkReport("soak", {})
    soak(domain, [wav(0.3)], SoakSettings(clients=2, minutes=0.03), report)
    growth, load = report.rows[-2:]
    assert set(growth) == {"what", "rss_mb_growth", "file_descriptors_growth", "threads_growth"}
    assert load["captions"]
    assert not load["failed"]
