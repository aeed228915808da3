from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.report import BenchmarkReport
from benchmarks.serving import measure
from tests.benchmark_parts import CAPTIONS
from tests.recordings import wav


@pytest.mark.usefixtures("faked")
def test_the_service_is_measured_from_a_lone_client_to_overload(tmp_path: Path) -> None:
    report = BenchmarkReport("serving", {})
    settings = measure.ServingSettings(("drcap",), (1, 4), seconds=1.0, ramp=0.2, overload=(2.0,))
    recordings = [wav(0.3)]
    measure.run(CAPTIONS, np.eye(40, dtype=np.float32), recordings, settings, report, Console(quiet=True))
    closed = [row for row in report.rows if "clients" in row]
    assert [row["clients"] for row in closed] == [1, 4]
    assert all(row["captions"] and not row["failed"] and row["drcap_times_faster"] == 1.0 for row in closed)
    assert all(row["peak_mb"] for row in closed)
    over = report.rows[-1]
    assert not over["failed"]
    assert over["captions"]
