"""``drcap domains`` against a service of fakes."""

import gzip
import io
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cli import app as cli
from datastores.base import DomainStore, FloatArray
from service.app import create_app
from service.runtime import Loaders
from service.settings import Settings
from tests.api.test_cli import run
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore
from tests.parquet import write_parquet
from tests.served import served


class GatedClap(FakeClap):
    """Embeds text while its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        assert self.gate.wait(20)
        return super().embed_text(texts)


@pytest.fixture
def clap() -> GatedClap:
    return GatedClap()


@pytest.fixture
def url(clap: GatedClap) -> Iterator[str]:
    """A service of fakes on a free port."""

    async def open_store(_: Settings) -> DomainStore:
        return MemoryStore()

    with served(create_app(Settings(), Loaders(lambda _: FakeBundle(clap=clap), open_store))) as url:
        yield url
        clap.gate.set()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "city.txt"
    path.write_text("tone 4\na tram rings\n")
    return path


Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def test_a_corpus_is_put_added_to_exported_and_rolled_back(
    monkeypatch: Patch, capsys: Capture, tmp_path: Path, url: str, corpus: Path
) -> None:
    assert run(monkeypatch, "domains", "put", "city", str(corpus), "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 2
    more = tmp_path / "more.ndjson.gz"
    more.write_bytes(gzip.compress(b'{"words": "rain on a roof"}\nno json\n{"words": "tone 4"}\n'))
    arguments = ("domains", "add", "city", str(more), "--column", "words", "--skip-bad-rows", "--url", url)
    assert run(monkeypatch, *arguments) == 0
    added = json.loads(capsys.readouterr().out)
    assert (added["captions"], added["embedded"], added["duplicates"], added["skipped"]) == (3, 1, 1, 1)
    out = tmp_path / "out.ndjson"
    assert run(monkeypatch, "domains", "export", "city", "--out", str(out), "--url", url) == 0
    exported = [json.loads(line)["caption"] for line in out.read_text().splitlines()]
    assert exported == ["tone 4", "a tram rings", "rain on a roof"]
    assert run(monkeypatch, "domains", "rollback", "city", "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 2
    assert run(monkeypatch, "domains", "put", "copy", str(out), "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 3


def test_the_captions_of_a_parquet_file_are_sent(monkeypatch: Patch, capsys: Capture, tmp_path: Path, url: str) -> None:
    file = tmp_path / "city.parquet"
    write_parquet(file, {"words": ["tone 4", "a tram rings"], "caption": ["no", "no"]})
    assert run(monkeypatch, "domains", "put", "city", str(file), "--column", "words", "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 2
    write_parquet(file, {"caption": ["rain on a roof", "tone 4"]})
    assert run(monkeypatch, "domains", "add", "city", str(file), "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 3


def test_a_domain_is_exported_to_stdout(
    monkeypatch: Patch, capfdbinary: pytest.CaptureFixture[bytes], url: str, corpus: Path
) -> None:
    assert run(monkeypatch, "domains", "put", "city", str(corpus), "--url", url) == 0
    capfdbinary.readouterr()
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, write_through=True))
    assert run(monkeypatch, "domains", "export", "city", "--url", url) == 0
    assert [json.loads(line) for line in written.getvalue().splitlines()] == [
        {"caption": "tone 4"},
        {"caption": "a tram rings"},
    ]


def test_an_export_that_fails_leaves_no_file(monkeypatch: Patch, tmp_path: Path, url: str) -> None:
    out = tmp_path / "out.ndjson"
    out.write_text("before")
    error = run(monkeypatch, "domains", "export", "nowhere", "--out", str(out), "--url", url)
    assert str(error).startswith("drcap: 404: ")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.ndjson"]
    assert out.read_text() == "before"


def test_a_registration_goes_on_without_its_client(
    monkeypatch: Patch, capsys: Capture, url: str, corpus: Path, clap: GatedClap
) -> None:
    clap.gate.clear()
    assert run(monkeypatch, "domains", "put", "city", str(corpus), "--no-wait", "--url", url) == 0
    job = json.loads(capsys.readouterr().out)["id"]
    assert run(monkeypatch, "domains", "jobs", "--url", url) == 0
    assert capsys.readouterr().out.startswith(f"{job}\tcity\tregister\t")
    busy = str(run(monkeypatch, "domains", "put", "city", str(corpus), "--url", url))
    assert busy.startswith("drcap: 409: ")
    assert job in busy
    assert run(monkeypatch, "domains", "cancel", job, "--url", url) == 0
    assert capsys.readouterr().out == "cancelled\n"
    assert run(monkeypatch, "domains", "jobs", job, "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "cancelled"


def test_an_interrupt_cancels_the_job(
    monkeypatch: Patch, capsys: Capture, url: str, corpus: Path, clap: GatedClap
) -> None:
    clap.gate.clear()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.common.jobs.time.sleep", interrupt)
    error = str(run(monkeypatch, "domains", "put", "city", str(corpus), "--url", url))
    assert error.endswith("is cancelled; the domain is unchanged")
    assert "\n" not in error
    assert run(monkeypatch, "domains", "jobs", "--url", url) == 0
    assert "\tcancelled\t" in capsys.readouterr().out


def test_a_corpus_that_is_refused_is_one_line(monkeypatch: Patch, tmp_path: Path, url: str) -> None:
    bad = tmp_path / "bad.ndjson"
    bad.write_text('{"caption": "a"}\n{\n')
    error = str(run(monkeypatch, "domains", "put", "city", str(bad), "--url", url))
    assert error.startswith("drcap: 400: line 2")
    assert "\n" not in error


def test_a_file_that_is_not_there_is_refused(monkeypatch: Patch, capsys: Capture, url: str) -> None:
    assert run(monkeypatch, "domains", "put", "city", "nowhere.txt", "--url", url) == 2
    assert "nowhere.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["put", "add", "list", "show", "search", "export", "rollback", "rm", "jobs", "cancel"]
)
def test_every_command_explains_itself_with_an_example(monkeypatch: Patch, capsys: Capture, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "domains", command, "--help") == 0
    assert f"drcap domains {command}" in capsys.readouterr().out.partition("Example")[2]


def test_the_domain_commands_are_part_of_drcap() -> None:
    assert any(group.name == "domains" for group in cli.app.registered_groups)


def test_a_corpus_comes_from_stdin(monkeypatch: Patch, capsys: Capture, url: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"tone 4\na tram rings\n")))
    assert run(monkeypatch, "domains", "put", "city", "-", "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"caption": "rain"}\n{"caption": "hail"}\n')))
    assert run(monkeypatch, "domains", "add", "city", "-", "--url", url) == 0
    assert json.loads(capsys.readouterr().out)["captions"] == 4


def test_a_corpus_from_stdin_is_taken_up_to_a_bound(monkeypatch: Patch, url: str) -> None:
    monkeypatch.setenv("DRCAP_CORPUS__MAX_BYTES", "10")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"tone 4\na tram rings\n")))
    error = str(run(monkeypatch, "domains", "put", "city", "-", "--url", url))
    assert error == "drcap: more than 10 bytes came from stdin (DRCAP_CORPUS__MAX_BYTES)"


@pytest.mark.parametrize("command", [("list",), ("show", "city")])
def test_domains_are_tables_for_people_and_json_for_programs(
    monkeypatch: Patch, capsys: Capture, url: str, corpus: Path, command: tuple[str, ...]
) -> None:
    assert run(monkeypatch, "domains", "put", "city", str(corpus), "--url", url) == 0
    capsys.readouterr()
    assert run(monkeypatch, "domains", *command, "--json", "--url", url) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.get("domains", [said])[0]["name"] == "city"
    monkeypatch.setattr("cli.domains.sys.stdout.isatty", lambda: True)
    assert run(monkeypatch, "domains", *command, "--url", url) == 0
    table = capsys.readouterr().out
    assert "city" in table
    assert "captions" in table
    assert "{" not in table
