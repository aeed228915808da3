"""The service as a child process, for those who need one for a while."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

READY_SECONDS = 180.0
"""How long the service may take until it is ready; a cold disk is the slowest part."""
_STOP_SECONDS = 15.0
_LOG_LINES = 30

# Of a service beside it, whose keys nobody here has and whose ops port is taken.
_NOT_FOR_A_CHILD = {"DRCAP_AUTH__KEYS", "DRCAP_AUTH__KEYS_FILE", "DRCAP_SERVER__OPS_PORT"}


class StartError(RuntimeError):
    """The service ended or was not ready in time; the message holds the end of its log."""


def server_command() -> list[str]:
    """The command that serves, run by the interpreter at hand; host and port are appended."""
    return [sys.executable, "-c", "from cli.app import main; main()", "serve"]


@contextmanager
def running_service(
    folder: Path, command: Sequence[str] | None = None, ready_seconds: float = READY_SECONDS
) -> Iterator[str]:
    """Run the service on a free port of the loopback address while the context is open.

    Args:
        folder: takes the log and, unless the environment names others, the datastore and the jobs.
        command: starts the service, `server_command` when left out; ``--host`` and ``--port`` are appended.
        ready_seconds: how long it may take until it is ready.

    Yields:
        Its base URL, once ``/readyz`` says that it is ready.

    Raises:
        StartError: it ended or was not ready in time. It is stopped in any case.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folders = {"DRCAP_DATASTORE__PATH": str(folder / "domains"), "DRCAP_JOBS__PATH": str(folder / "jobs")}
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in _NOT_FOR_A_CHILD}
    environment = {**folders, **inherited, "HF_HUB_OFFLINE": "1"}
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
    """A port of the loopback address that nothing listens on right now."""
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
