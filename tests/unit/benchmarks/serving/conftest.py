"""A domain, and the service over fakes."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving import measure, servers
from benchmarks.serving.plain import save_domain
from tests.benchmark_parts import CAPTIONS


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    path = tmp_path / "domain.npz"
    save_domain(path, CAPTIONS, np.eye(len(CAPTIONS), dtype=np.float32))
    return path


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the service over fakes and does not measure the stages."""
    monkeypatch.setattr(servers, "server_command", lambda: [sys.executable, "-m", "tests.e2e.fake_service", "serve"])
    monkeypatch.setattr(measure, "stage_costs", lambda *_: [{"what": "bound", "captions_per_s": 2.0}])
