"""Runs the commands of documents against a service on a free port."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.repository.documents import ADDRESS, ROOT, DocumentedCommand


def run(words: Sequence[str], url: str = ADDRESS) -> "subprocess.CompletedProcess[str]":
    """Run a program in the root of the repository, in an environment that names the service at `url` only."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "DRCAP_SERVER__PORT": str(httpx.URL(url).port),
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "COLUMNS": "120",
    }
    return subprocess.run(  # noqa: S603 - commands of our own documents
        list(words), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def check_curl(command: DocumentedCommand, url: str) -> None:
    """Send a curl command to `url`: its answer has the announced status, or is a success."""
    words = [word.replace(ADDRESS, url) for word in command.words]
    assert any(word.startswith(url) for word in words), command.line
    done = run([*words, "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"])
    assert done.returncode == 0, (command.line, done.stderr)
    body, _, status = done.stdout.rpartition("\n")
    if command.status is None:
        assert int(status) in (200, 201, 202, 204), (command.line, body)
    else:
        assert int(status) == command.status, (command.line, body)
        assert json.loads(body)["status"] == command.status


def check_drcap(command: DocumentedCommand, url: str, folder: Path) -> None:
    """Run a drcap command against `url`; `folder` takes the files that it writes to /tmp."""
    # A folder of its own: files that an earlier run left in /tmp may have other options.
    words = [word.replace("/tmp/", f"{folder}/") for word in command.words[1:]]  # noqa: S108
    done = run([sys.executable, "-c", "from cli.app import main; main()", *words], url)
    assert done.returncode == 0, (command.line, done.stdout, done.stderr)
