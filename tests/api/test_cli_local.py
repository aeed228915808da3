"""``drcap caption --local``: the service in the process of the command, over fakes and a real embedded datastore."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cli.captioning.local import domain_of
from datastores.edge.store import EdgeStore
from datastores.registration import register
from models.bundle.loaded import LoadedBundle
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from service.settings import Settings
from tests.api.test_cli import run
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.recordings import wav

CITY = [f"tone {number} in the city" for number in range(12)]

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]
Command = Callable[..., int | str]


@pytest.fixture
def loaded(monkeypatch: Patch) -> list[Settings]:
    """The settings that bundles were loaded for."""
    asked: list[Settings] = []

    def load(settings: Settings) -> LoadedBundle:
        asked.append(settings)
        return FakeBundle()

    monkeypatch.setattr("service.loading.load_bundle", load)
    return asked


@pytest.fixture
def caption(monkeypatch: Patch, tmp_path: Path, loaded: list[Settings]) -> Command:
    """The command in a folder with ``r/a.wav`` (tone 4), ``r/b.wav`` (tone 9) and ``captions.txt``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRCAP_DATASTORE__PATH", str(tmp_path / "domains"))
    Path("r").mkdir()
    Path("r/a.wav").write_bytes(wav(hertz=400))
    Path("r/b.wav").write_bytes(wav(hertz=900))
    Path("captions.txt").write_text("\n".join(CITY))
    return lambda *arguments: run(monkeypatch, "caption", *arguments, "--local")


async def opened(path: Path) -> EdgeStore:
    return await EdgeStore.open(path)


async def filled(path: Path, *names: str) -> None:
    store = await EdgeStore.open(path)
    for name in names:
        await register(store, name, CITY, FakeClap())
    await store.close()


def test_a_file_of_captions_is_the_domain(caption: Command, capsys: Capture, tmp_path: Path) -> None:
    assert caption("r", "--corpus", "captions.txt", "--out", "out.ndjson") == 0
    found = [json.loads(line) for line in Path("out.ndjson").read_text().splitlines()]
    assert {row["path"]: row["caption"] for row in found} == {
        "r/a.wav": f"Heard: {CITY[4]}",
        "r/b.wav": f"Heard: {CITY[9]}",
    }
    assert {row["domain"] for row in found} == {"captions"}
    assert "2 captioned in " in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.txt", "out.ndjson", "r"]


def test_what_is_done_needs_no_bundle(caption: Command, loaded: list[Settings]) -> None:
    arguments = ("r", "--corpus", "captions.txt", "--out", "out.csv")
    assert caption(*arguments) == 0
    assert caption(*arguments) == 0
    assert len(loaded) == 1


def test_the_embedded_datastore_is_asked(caption: Command, capsys: Capture, tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path / "domains", "city"))
    assert caption("r/a.wav") == 0
    assert capsys.readouterr().out == f"Heard: {CITY[4]}\n"
    asyncio.run(filled(tmp_path / "domains", "forest"))
    assert "several domains: city, forest" in str(caption("r/a.wav"))
    assert caption("r/a.wav", "--domain", "forest") == 0


def test_what_a_service_beside_it_has_is_left_alone(caption: Command, monkeypatch: Patch, tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path / "domains", "city"))
    monkeypatch.setenv("DRCAP_SERVER__HOST", "0.0.0.0")  # noqa: S104
    monkeypatch.setenv("DRCAP_SERVER__OPS_PORT", "1")
    monkeypatch.setenv("DRCAP_AUTH__KEYS_FILE", str(tmp_path / "nowhere.json"))
    jobs = tmp_path / "jobs-of-the-service"
    monkeypatch.setenv("DRCAP_JOBS__PATH", str(jobs))
    assert caption("r/a.wav") == 0
    assert not jobs.exists()


def test_without_a_datastore_the_ways_out_are_named(caption: Command, tmp_path: Path) -> None:
    error = str(caption("r/a.wav"))
    assert error.startswith(f"drcap: there is no datastore at {tmp_path / 'domains'} (DRCAP_DATASTORE__PATH); ")
    assert "--corpus FILE" in error
    assert "\n" not in error
    assert not (tmp_path / "domains").exists()


def test_a_datastore_that_a_service_has_open_is_said(caption: Command, tmp_path: Path) -> None:
    held = asyncio.run(opened(tmp_path / "domains"))
    try:
        error = str(caption("r/a.wav"))
    finally:
        asyncio.run(held.close())
    assert error.startswith(f"drcap: the datastore {tmp_path / 'domains'} is open in a running service; ")
    assert "without --local" in error


def test_a_bundle_that_is_not_there_is_one_line(caption: Command, monkeypatch: Patch) -> None:
    def nothing(_: Settings) -> LoadedBundle:
        raise RuntimeError("no bundle\nat x")

    monkeypatch.setattr("service.loading.load_bundle", nothing)
    assert caption("r/a.wav") == "drcap: the bundle could not be loaded: no bundle at x"


def test_a_corpus_that_is_none_names_its_file(caption: Command, capsys: Capture) -> None:
    Path("bad.ndjson").write_text('{"caption": "a"}\n{\n')
    error = str(caption("r/a.wav", "--corpus", "bad.ndjson"))
    assert error.startswith("drcap: bad.ndjson: 400: line 2")
    assert capsys.readouterr().err == ""


def test_options_that_do_not_go_together_are_usage_errors(caption: Command, capsys: Capture) -> None:
    assert caption("r", "--corpus", "captions.txt", "--domain", "city") == 2
    assert "omit --domain" in capsys.readouterr().err


def test_a_fault_is_one_line_and_told_at_length_when_asked_for(
    caption: Command, capsys: Capture, monkeypatch: Patch
) -> None:
    class Broken(FakeDecoder):
        def generate(
            self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody
        ) -> list[Generated]:
            raise ZeroDivisionError("of the model")

    monkeypatch.setattr("service.loading.load_bundle", lambda _: FakeBundle(decoder=Broken()))
    assert caption("r/a.wav", "--corpus", "captions.txt") == 1
    said = capsys.readouterr().err
    assert said.startswith("drcap: r/a.wav: 500: ")
    assert said.endswith("(DRCAP_LOG__LEVEL=debug shows it)\n")
    assert "ZeroDivisionError" not in said
    handlers = logging.getLogger().handlers
    monkeypatch.setenv("DRCAP_LOG__LEVEL", "debug")
    try:
        assert caption("r/a.wav", "--corpus", "captions.txt") == 1
        assert "ZeroDivisionError: of the model" in capsys.readouterr().err
    finally:
        logging.getLogger().handlers[:] = handlers


def test_a_busy_process_takes_no_more_than_it_lets_in(caption: Command, monkeypatch: Patch) -> None:
    monkeypatch.setenv("DRCAP_ADMISSION__CAPTIONS", "1")
    assert caption("r", "--corpus", "captions.txt", "--parallel", "8", "--out", "out.ndjson") == 0


def test_no_thread_is_left(caption: Command) -> None:
    before = set(threading.enumerate())
    assert caption("r/a.wav", "--corpus", "captions.txt") == 0
    assert [thread.name for thread in set(threading.enumerate()) - before] == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("captions.txt", "captions"),
        ("My Captions (2).csv.gz", "my-captions-2"),
        ("日本.txt", "corpus"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_domain_is_called_like_its_file(file: str, name: str) -> None:
    assert domain_of(Path(file)) == name
