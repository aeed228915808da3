"""The service is told to stop: it ends as a program that did what it was to do."""

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from service.cli.child import free_port, server_command


@pytest.mark.embedded
def test_a_service_that_is_terminated_ends_with_0(tmp_path: Path) -> None:
    port = free_port()
    folders = {"DRCAP_DATASTORE__PATH": str(tmp_path / "domains"), "DRCAP_JOBS__PATH": str(tmp_path / "jobs")}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [*server_command(), "--port", str(port)], env={**os.environ, **folders}, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False).is_success:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
