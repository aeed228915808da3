import numpy as np

from benchmarks import hearing
from benchmarks.report import BenchmarkReport
from tests.fakes import FakeClap


def test_hearing_is_timed_beside_its_plain_form_and_the_vectors_are_compared() -> None:
    report = BenchmarkReport("hearing", {})
    windows = [np.sin(np.arange(1_600, dtype=np.float32) * pitch) for pitch in (0.1, 0.2)]
    hearing.run(FakeClap(), FakeClap(), windows, hearing.HearingSettings(rounds=2), report)
    assert [row["what"] for row in report.rows] == ["plain", "fast"]
    assert all(float(str(row["s_a_window"])) > 0 for row in report.rows)
    assert "2 windows; vectors differ by 0.0e+00 at most, cosine at least " in report.notes[0]
