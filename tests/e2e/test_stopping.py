"""The service is told to stop: it ends as a program that did what it was to do, whatever it is at."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.common.service_process import free_port, server_command
from research.corpora.composed import composed_captions
from tests.e2e import hung_service

_PATIENCE = 180.0
_ENDING = 60.0


class Started:
    """A service in a process of its own, and what it says."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.log = folder / "service.log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        folders = {"DRCAP_DATASTORE__PATH": str(folder / "domains"), "DRCAP_JOBS__PATH": str(folder / "jobs")}
        path = {"PYTHONPATH": ":".join(filter(None, sys.path))}
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [*command, "--port", str(port)], env={**os.environ, **folders, **path}, stderr=sink
            )

    def wait_until(self, seen: Callable[[], bool]) -> None:
        """Wait for something to be seen of the service, which runs meanwhile."""
        until = time.monotonic() + _PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            try:
                if seen():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        pytest.fail(f"that was not seen of the service:\n{self.log.read_text()}")

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30, trust_env=False)

    def ready(self) -> bool:
        return self.get("/readyz").is_success

    def register(self, captions: list[str]) -> str:
        """Begin to register a domain; the path of its job."""
        corpus = {"captions": captions}
        answer = httpx.put(f"{self.url}/domains/city", json=corpus, timeout=30, trust_env=False).raise_for_status()
        return f"/jobs/{answer.json()['id']}"

    def progress(self, job: str) -> Any:
        return self.get(job).raise_for_status().json()["progress"]

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_ENDING)


@contextmanager
def started(folder: Path, command: list[str] | None = None) -> Iterator[Started]:
    """A service meanwhile."""
    service = Started(folder, command or server_command())
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()


@contextmanager
def busy() -> Iterator[None]:
    """Every core has something else to compute meanwhile."""
    command = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]  # noqa: S603 - our own interpreter
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.embedded
def test_a_service_that_is_terminated_while_it_registers_ends_with_0_and_goes_on_later(tmp_path: Path) -> None:
    captions = composed_captions(2000, seed=1)
    with started(tmp_path) as service:
        service.wait_until(service.ready)
        with busy():
            job = service.register(captions)
            # The next captions are being embedded when these have been.
            service.wait_until(lambda: service.progress(job)["embedded"] > 0)
            assert service.stop() == 0
    with started(tmp_path) as service:
        service.wait_until(service.ready)
        assert service.get(job).json()["state"] in ("queued", "running", "succeeded")
        assert service.stop() == 0


@pytest.mark.embedded
def test_a_service_that_is_terminated_while_it_loads_ends_with_0(tmp_path: Path) -> None:
    with started(tmp_path) as service:
        service.wait_until(lambda: service.get("/livez").is_success)
        assert service.stop() == 0


def test_a_call_of_a_model_that_never_ends_does_not_keep_the_process(tmp_path: Path) -> None:
    with started(tmp_path, [*hung_service.COMMAND, "model"]) as service:
        service.wait_until(service.ready)
        service.register(["A dog barks."])
        service.wait_until(lambda: hung_service.HANGS in service.log.read_text())
        assert service.stop() == 0
    assert "a call of a model has not ended" in service.log.read_text()


def test_a_bundle_that_never_loads_does_not_keep_the_process(tmp_path: Path) -> None:
    with started(tmp_path, [*hung_service.COMMAND, "bundle"]) as service:
        service.wait_until(lambda: service.get("/livez").is_success)
        service.wait_until(lambda: hung_service.HANGS in service.log.read_text())
        assert service.stop() == 0
    assert "has not closed everything" in service.log.read_text()
