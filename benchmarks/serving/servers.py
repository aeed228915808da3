"""The servers to compare; each runs in a process of its own while it is measured."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.benchmark_domain import DOMAIN
from benchmarks.serving.clients import Ask, ask_json, ask_raw
from benchmarks.serving.plain import load_domain
from cli.common.service_process import free_port, server_command

_READY_SECONDS = 240.0


@dataclass(frozen=True)
class Server:
    """How to start and query a server.

    Attributes:
        name: in the table.
        command: makes the command from a port.
        ready: path that answers 200 when the server can caption.
        ask: makes requests from the base URL.
        prepare: is called with the base URL before the measurement.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    ready: str
    ask: Callable[[str], Ask]
    prepare: Callable[[str], None] = lambda _: None


def the_servers(domain: Path) -> dict[str, Server]:
    """Return the servers by short name, for a domain in a file of `benchmarks.serving.plain.save_domain`."""

    def register(url: str) -> None:
        captions, _ = load_domain(domain)
        answer = httpx.put(
            f"{url}/domains/{DOMAIN}", params={"wait": "true"}, json={"captions": captions}, timeout=3_600
        )
        answer.raise_for_status()

    def python(module: str, *words: str) -> Callable[[int], Sequence[str]]:
        """Return the command of a module; the word PORT is replaced by the port."""
        return lambda port: [sys.executable, "-m", module, *(str(port) if word == "PORT" else word for word in words)]

    lit = "benchmarks.serving.litserve_server"
    ours = lambda port: [*server_command(), "--host", "127.0.0.1", "--port", str(port)]  # noqa: E731
    plain = python("benchmarks.serving.plain_server", str(domain), "PORT")
    # LitServe's workers are processes: two with one thread each suit two cores, like our writers.
    padded = python(lit, "plain", str(domain), "PORT", "1", "2")
    around = python(lit, "ours", str(domain), "PORT", "2", "1")
    return {
        "drcap": Server("drcap", ours, "/readyz", lambda url: ask_raw(f"{url}/caption?domain={DOMAIN}"), register),
        "a": Server("(a) FastAPI, generate, float32", plain, "/readyz", lambda url: ask_raw(f"{url}/caption")),
        "b": Server("(b) LitServe, padded, float32", padded, "/health", lambda url: ask_json(f"{url}/predict")),
        "c": Server("(c) LitServe, our captioner", around, "/health", lambda url: ask_json(f"{url}/predict")),
    }


@dataclass
class Running:
    """A running server: its base URL, its process, and the largest memory of all its processes so far, in MB."""

    url: str
    pid: int
    peak_mb: float = 0.0

    def core_seconds(self) -> float:
        """Return the core-seconds that all its processes have used so far."""
        tree = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return float(sum(one.cpu_times().user + one.cpu_times().system for one in tree))


@contextmanager
def running(server: Server, variables: dict[str, str] | None = None) -> Iterator[Running]:
    """Run a server, ready and prepared, while the context is open; its processes end with the context.

    Raises:
        RuntimeError: the server ended or was not ready in time; the message has the end of its log.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        folders = {"DRCAP_DATASTORE__PATH": f"{folder}/domains", "DRCAP_JOBS__PATH": f"{folder}/jobs"}
        environment = os.environ | folders | (variables or {}) | {"HF_HUB_OFFLINE": "1"}
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                server.command(port), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=environment
            )
        measured = Running(f"http://127.0.0.1:{port}", process.pid)
        stop = threading.Event()
        watch = threading.Thread(target=_watch, args=(process.pid, measured, stop), daemon=True)
        watch.start()
        try:
            _wait(process, measured.url + server.ready, log)
            server.prepare(measured.url)
            yield measured
        finally:
            stop.set()
            watch.join()
            _end(process)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=2.0, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the server was not ready: {log.read_text(errors='replace')[-2_000:]}")


def _watch(pid: int, measured: Running, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        try:
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            # Proportional shares: memory that processes share counts once.
            total = sum(one.memory_full_info().pss for one in tree) / 1e6
        except psutil.Error:
            continue
        measured.peak_mb = max(measured.peak_mb, total)


def _end(process: "subprocess.Popen[bytes]") -> None:
    tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in tree:
        if child.is_running():
            child.kill()
