"""What Dockerfile, compose file and docs/operations.md say, and what is needed to try it without a container engine."""

import importlib
import re
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BASH = shutil.which("bash") or "bash"

yaml = importlib.import_module("yaml")  # without stubs


def compose() -> Any:
    return yaml.safe_load(COMPOSE)


SERVICES = sorted(compose()["services"])
OURS = ("drcap", "drcap-gpu")


def service(name: str) -> Any:
    return compose()["services"][name]


def instructions(name: str) -> list[str]:
    """What follows an instruction of the Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return re.findall(rf"^\s*{name} (.*)$", joined, re.MULTILINE)


def variables() -> dict[str, str]:
    """The environment of the image that is run."""
    return dict(pair.split("=", 1) for line in instructions("ENV")[1:] for pair in line.split())


def copied() -> list[str]:
    """What the image takes from the repository."""
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    return [source for words in lines for source in words[:-1]]


def packages() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed: list[str] = project["tool"]["setuptools"]["packages"]
    return listed


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with a status: its port, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(command: list[str], environment: dict[str, str] | None = None, cwd: Path = ROOT) -> int:
    return subprocess.run(  # noqa: S603 - commands of our own files
        command, env=environment, cwd=cwd, capture_output=True, timeout=30, check=False
    ).returncode
