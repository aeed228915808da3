"""What a shell is given to complete ``drcap``."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from datastores.base import DomainStore
from service.app import create_app
from service.runtime import Loaders
from service.settings import Settings
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore
from tests.served import served

PROGRAM = "from cli.app import main; main()"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service of fakes on a free port, with the domains city, coast and forest."""

    async def open_store(_: Settings) -> DomainStore:
        store, clap = MemoryStore(), FakeBundle().clap
        for name in ("city", "coast", "forest"):
            await store.put(name, ["tone 4"], clap.embed_text(["tone 4"]), clap.fingerprint)
        return store

    with served(create_app(Settings(), Loaders(lambda _: FakeBundle(), open_store))) as url:
        yield url


def drcap(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(filter(None, sys.path)), **variables}
    # Called as a shell calls it, since the name is in the script.
    code = f"import sys; sys.argv[0] = 'drcap'; {PROGRAM}"
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def completed(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What bash is given for a line at its end."""
    words = line.split(" ")
    return drcap(_DRCAP_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), **variables)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_every_shell_can_be_shown(shell: str, tmp_path: Path) -> None:
    shown = drcap("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.returncode == 0, shown.stderr
    assert "_DRCAP_COMPLETE" in shown.stdout
    assert "drcap" in shown.stdout
    program = shutil.which(shell)
    if program is not None:
        script = tmp_path / "script"
        script.write_text(shown.stdout)
        checked = subprocess.run([program, "-n", str(script)], capture_output=True, text=True, check=False)  # noqa: S603
        assert checked.returncode == 0, checked.stderr


def test_bash_can_be_tested_here() -> None:
    assert shutil.which("bash") is not None


@pytest.mark.parametrize(
    "line", ["drcap caption a.wav --domain ", "drcap domains show ", "drcap domains add ", "drcap domains rm "]
)
def test_domains_are_completed_by_the_service(url: str, line: str) -> None:
    port = str(httpx.URL(url).port)
    done = completed(line + "c", DRCAP_SERVER__PORT=port)
    assert done.stdout.split() == ["city", "coast"]


def test_domains_are_completed_by_the_service_that_is_named(url: str) -> None:
    done = completed(f"drcap caption a.wav --url {url} --domain f", DRCAP_SERVER__PORT="9")
    assert done.stdout.split() == ["forest"]


@pytest.mark.parametrize("variables", [{"DRCAP_SERVER__PORT": "9"}, {"DRCAP_NO_SUCH": "setting"}])
def test_without_a_service_nothing_is_completed_and_nothing_said(variables: dict[str, str]) -> None:
    done = completed("drcap domains show c", **variables)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_service_that_says_nothing_does_not_hold_the_shell() -> None:
    import socket

    from cli.common import completion

    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()

        class Context:
            params = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}"}  # noqa: RUF012

        assert completion.domain_names(Context(), "") == []  # type: ignore[arg-type]
        assert time.monotonic() - started < 10 * completion._SECONDS


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("drcap caption a.wav --format v", {"verbose_json", "vtt"}),
        ("drcap caption --be", {"--beside"}),
        ("drcap domains p", {"put"}),
    ],
)
def test_formats_options_and_commands_are_completed(line: str, words: set[str]) -> None:
    assert set(completed(line).stdout.split()) == words


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("cli.app", ["torch", "transformers", "uvicorn"]),
        ("cli.caption", ["torch", "numpy", "fastapi"]),
        ("cli.domains", ["torch", "numpy", "fastapi"]),
    ],
)
def test_whoever_completes_waits_for_nothing_that_serves(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
