"""Runs the service as a child process for a limited time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.settings import variable_name

READY_SECONDS = 180.0
"""Seconds until the service must be ready; reading from a cold disk takes longest."""
_STOP_SECONDS = 15.0
_LOG_LINES = 30

# The child needs no keys, and a service beside it may listen on the ops port.
_NOT_INHERITED = {
    variable_name("auth", "keys"),
    variable_name("auth", "keys_file"),
    variable_name("server", "ops_port"),
}


class StartError(RuntimeError):
    """The service ended or was not ready in time; the message contains the end of its log."""


def server_command() -> list[str]:
    """Return the command that serves with this interpreter; append host and port."""
    return [sys.executable, "-c", "from cli.app import main; main()", "serve"]


@contextmanager
def running_service(
    folder: Path, command: Sequence[str] | None = None, ready_seconds: float = READY_SECONDS
) -> Iterator[str]:
    """Run the service on a free loopback port while the context is open.

    Args:
        folder: for the log and, unless the environment names other folders, the datastore and the jobs.
        command: starts the service, by default `server_command`; ``--host`` and ``--port`` are appended.
        ready_seconds: seconds until it must be ready.

    Yields:
        Its base URL, as soon as ``/readyz`` succeeds.

    Raises:
        StartError: it ended or was not ready in time. The process is stopped in any case.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folders = {variable_name("datastore", "path"): folder / "domains", variable_name("jobs", "path"): folder / "jobs"}
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in _NOT_INHERITED}
    environment = {name: str(path) for name, path in folders.items()} | inherited | {"HF_HUB_OFFLINE": "1"}
    log = folder / "service.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, arguments as a list
            [*(command or server_command()), "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            _wait_until_ready(process, url, log, ready_seconds)
            yield url
        finally:
            _stop(process)


def free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path, ready_seconds: float) -> None:
    deadline = time.monotonic() + ready_seconds
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            raise StartError(f"the service ended with exit code {code} before it was ready:\n{_tail(log)}")
        try:
            if httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise StartError(f"the service was not ready after {ready_seconds:g} s:\n{_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:]) or "(its log is empty)"
