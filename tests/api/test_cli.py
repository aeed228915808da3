import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text

from cli import app as cli
from datastores.base import DomainStore
from models.bundle.loaded import LoadedBundle
from service.app import create_app
from service.runtime import Loaders
from service.settings import Settings
from service.version import drcap_version
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore
from tests.recordings import wav
from tests.served import served


@pytest.fixture
def url() -> Iterator[str]:
    """A service of fakes on a free port."""

    async def open_store(_: Settings) -> DomainStore:
        return MemoryStore()

    with served(create_app(Settings(), Loaders(lambda _: FakeBundle(), open_store))) as url:
        yield url


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str:
    """What the process would exit with: a code, or a line for stderr, which means 1."""
    monkeypatch.setattr(sys, "argv", ["drcap", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_a_domain_is_registered_used_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str
) -> None:
    corpus, clip = tmp_path / "city.txt", tmp_path / "clip.wav"
    corpus.write_text("tone 4\na tram rings\n")
    clip.write_bytes(wav())
    assert run(monkeypatch, "domains", "put", "city", str(corpus), "--url", url) == 0
    assert '"captions": 2' in capsys.readouterr().out
    assert run(monkeypatch, "domains", "list", "--url", url) == 0
    assert capsys.readouterr().out.startswith("city\t2 captions")
    assert run(monkeypatch, "caption", str(clip), "--domain", "city", "--url", url) == 0
    assert capsys.readouterr().out == "Heard: tone 4\n"
    assert run(monkeypatch, "domains", "rm", "city", "--url", url) == 0
    error = run(monkeypatch, "domains", "show", "city", "--url", url)
    assert str(error).startswith("drcap: 404: ")
    assert "city" in str(error)


def test_bad_input_is_one_line_and_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    odd = tmp_path / "corpus.docx"
    odd.write_bytes(b"PK\x03\x04" + bytes(100))
    assert str(run(monkeypatch, "domains", "put", "city", str(odd), "--url", url)).startswith("drcap: 4")
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"no audio")
    assert str(run(monkeypatch, "caption", str(clip), "--url", url)).startswith("drcap: 4")


def test_a_service_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    error = str(run(monkeypatch, "domains", "list", "--url", "http://127.0.0.1:9"))
    assert error.startswith("drcap: no answer from http://127.0.0.1:9/domains")
    assert "\n" not in error


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://x:y"])
def test_what_is_no_url_is_one_line(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    error = str(run(monkeypatch, "domains", "list", "--url", url))
    assert error.startswith(f"drcap: {url!r} is not a URL")
    assert "\n" not in error


def test_a_fault_of_ours_is_one_line_and_a_traceback_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("cli.domains.connect", fail)
    error = str(run(monkeypatch, "domains", "list"))
    assert error.startswith("drcap: this should not have happened: ZeroDivisionError: by zero (DRCAP_LOG__LEVEL=debug")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("DRCAP_LOG__LEVEL", "debug")
    run(monkeypatch, "domains", "list")
    assert "Traceback" in capsys.readouterr().err


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"drcap {drcap_version()}\n"


def test_an_unknown_variable_stops_the_service_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_BUNDEL", "x")
    assert run(monkeypatch, "serve") == "drcap: DRCAP_BUNDEL is no setting of drcap; the nearest one is DRCAP_BUNDLE"


def test_a_service_that_cannot_load_its_parts_stops_with_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_nothing(_: Settings) -> LoadedBundle:
        raise RuntimeError("no weights")

    async def open_store(_: Settings) -> DomainStore:
        return MemoryStore()

    monkeypatch.setattr("cli.serve.DEFAULT_LOADERS", Loaders(load_nothing, open_store))
    error = run(monkeypatch, "serve", "--port", "0")
    assert error == "drcap: the service could not be loaded: no weights"


def commands() -> dict[str, Any]:
    """Every command with its words, those of groups included."""
    found: dict[str, Any] = {}

    def walk(words: str, command: Any) -> None:
        found[words] = command
        for name, below in getattr(command, "commands", {}).items():
            walk(f"{words} {name}", below)

    walk("drcap", typer.main.get_command(cli.app))
    return found


@pytest.mark.parametrize("words", [words for words, command in commands().items() if command.epilog])
def test_examples_stand_whole_in_the_help_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, *words.split()[1:], "--help") == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    examples = Text.from_markup(commands()[words].epilog).plain.splitlines()
    assert examples[0] == "Examples"
    for line in examples:
        assert f" {line}".rstrip() in lines


def test_every_command_of_its_own_has_an_example() -> None:
    lacking = [words for words, command in commands().items() if not command.epilog]
    # Those of these groups stand with the group.
    assert [words for words in lacking if words.split()[1] not in ("bundle", "keys", "import")] == []
