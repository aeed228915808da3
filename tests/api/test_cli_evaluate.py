import asyncio
import csv
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from qdrant_client import AsyncQdrantClient
from typer.testing import CliRunner, Result

from cli.common.errors import CommandError
from cli.evaluate import evaluate
from datastores.base import DomainStore
from datastores.edge.store import EdgeStore
from datastores.qdrant.store import QdrantStore
from datastores.registration import register
from models.bundle.config import BundleError, RetrievalSection
from models.bundle.loaded import LoadedBundle
from models.conditioning.projection import Projection
from models.decoder import GenerationOptions
from service.app import create_app
from service.runtime import Loaders
from service.settings import Settings
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore
from tests.parquet import write_parquet
from tests.recordings import wav
from tests.served import served
from tests.storage import server_config

CITY = [f"tone {number} in the city" for number in range(20)]
FOREST = [f"tone {number} deep between old trees" for number in range(20)]

Run = Callable[..., Result]


def fake_bundle(_: Settings) -> LoadedBundle:
    retrieval = RetrievalSection(k=2, neighbours=8)
    return FakeBundle(projection=Projection(0.1), retrieval=retrieval, generation=GenerationOptions(num_beams=2))


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("evaluation.java.which", lambda _: None)
    monkeypatch.setattr("service.loading.load_bundle", fake_bundle)
    monkeypatch.setenv("DRCAP_DATASTORE__PATH", str(tmp_path / "domains"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command in a folder with clips.csv, city.txt and forest.txt."""
    rows = [("a.wav", 400.0, "a tone 4", "dev"), ("b.wav", 1000.0, "a tone 10", "dev"), ("c.wav", 700.0, "x", "train")]
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "caption", "split"])
        for name, hertz, caption, split in rows:
            (tmp_path / name).write_bytes(wav(hertz=hertz))
            writer.writerow([name, caption, split])
    (tmp_path / "city.txt").write_text("\n".join(CITY))
    (tmp_path / "forest.txt").write_text("\n".join(FOREST))
    app = typer.Typer()
    app.command()(evaluate)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--cache", "cache"])

    return invoke


def report(folder: str = "evaluation-report") -> dict[str, object]:
    read: dict[str, object] = json.loads((Path(folder) / "report.json").read_text())
    return read


def captions(row: str) -> list[str]:
    clips = report()["clips"]
    assert isinstance(clips, list)
    return [clip[row] for clip in clips]


def refused(result: Result) -> str:
    """The line that the user is shown."""
    assert isinstance(result.exception, CommandError), result.exception
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_clips_are_captioned_in_a_domain_made_of_a_file(run: Run) -> None:
    result = run("--clips", "clips.csv", "--where", "split=dev", "--corpus", "city.txt")
    assert result.exit_code == 0, result.exception
    assert captions("nearest caption") == [CITY[4], CITY[10]]
    assert captions("drcap") == [f"Heard: {CITY[4]}", f"Heard: {CITY[10]}"]
    assert "| nearest caption |" in result.stdout
    assert {path.name for path in Path("evaluation-report").iterdir()} >= {"report.json", "report.md"}


def test_a_domain_is_made_of_a_parquet_file(run: Run) -> None:
    write_parquet(Path("city.parquet"), {"caption": CITY})
    result = run("--clips", "clips.csv", "--where", "split=dev", "--corpus", "city.parquet")
    assert result.exit_code == 0, result.exception
    assert captions("nearest caption") == [CITY[4], CITY[10]]


def test_limit_out_and_beams_are_heeded(run: Run) -> None:
    run("--clips", "clips.csv", "--corpus", "city.txt", "--limit", "1", "--out", "here/there", "--beams", "3")
    made = report("here/there")
    assert isinstance(made["rows"], list)
    assert [row["note"] for row in made["rows"]] == ["", "3 beams"]
    assert isinstance(made["clips"], list)
    assert len(made["clips"]) == 1


def test_an_ablation_has_a_row_an_arm(run: Run) -> None:
    assert run("--clips", "clips.csv", "--corpus", "city.txt", "--ablate").exit_code == 0
    assert report()["baseline"] == "projected + captions"
    assert set(captions("vector only")) == {"Heard"}


async def test_clips_are_captioned_in_the_only_domain_of_the_datastore(run: Run, tmp_path: Path) -> None:
    store = await EdgeStore.open(tmp_path / "domains")
    await register(store, "forest", FOREST, FakeClap())
    held: list[Result] = []
    # The command has an event loop of its own, so it needs a thread of its own here.
    worker = threading.Thread(target=lambda: held.append(run("--clips", "clips.csv")))
    worker.start()
    worker.join()
    line = refused(held[0])
    assert "domains is open in a running service" in line
    assert "--corpus" in line
    assert "--url" in line
    await store.close()
    worker = threading.Thread(target=lambda: held.append(run("--clips", "clips.csv")))
    worker.start()
    worker.join()
    assert held[1].exit_code == 0, held[1].exception
    assert captions("nearest caption") == [FOREST[4], FOREST[10], FOREST[7]]


async def test_clips_are_captioned_in_a_domain_of_the_server_that_the_settings_name(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = AsyncQdrantClient(":memory:")
    store = await QdrantStore.open(server_config("http://qdrant:6333"), server)
    await register(store, "forest", FOREST, FakeClap())
    monkeypatch.setenv("DRCAP_DATASTORE__URL", "http://qdrant:6333")
    monkeypatch.setattr("datastores.qdrant.connection.AsyncQdrantClient", lambda **_: server)
    held: list[Result] = []
    worker = threading.Thread(target=lambda: held.append(run("--clips", "clips.csv", "--domain", "forest")))
    worker.start()
    worker.join()
    await store.close()
    assert held[0].exit_code == 0, held[0].exception
    assert captions("nearest caption") == [FOREST[4], FOREST[10], FOREST[7]]
    assert not await asyncio.to_thread(Path("domains").exists)


def test_a_server_that_does_not_answer_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_DATASTORE__URL", "http://127.0.0.1:1")
    impatient = server_config("http://127.0.0.1:1", retry_seconds=0)
    monkeypatch.setattr("service.loading.qdrant_config", lambda _: impatient)
    line = refused(run("--clips", "clips.csv"))
    assert "http://127.0.0.1:1" in line
    assert "DRCAP_DATASTORE__URL" in line


def test_without_a_datastore_the_ways_out_are_named(run: Run) -> None:
    line = refused(run("--clips", "clips.csv", "--domain", "city"))
    assert line.startswith("there is no datastore at ")
    assert "DRCAP_DATASTORE__PATH" in line
    assert not Path("domains").exists()


def test_a_bad_recording_is_named_before_a_corpus_is_embedded(run: Run) -> None:
    Path("b.wav").write_bytes(b"no audio")
    assert refused(run("--clips", "clips.csv", "--corpus", "city.txt")).startswith("b.wav: this is not audio")
    assert not Path("cache").exists()


def test_a_recording_over_the_limit_names_the_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRCAP_AUDIO__MAX_BYTES", "1000")
    assert "a.wav: the recording has 32,044 bytes; 1,000 are allowed (DRCAP_AUDIO__MAX_BYTES)" in refused(
        run("--clips", "clips.csv", "--corpus", "city.txt")
    )


def test_captions_are_reconstructed_from_the_rest_of_their_corpus(run: Run) -> None:
    result = run("--reconstruct", "city.txt", "--limit", "5", "--seed", "3")
    assert result.exit_code == 0, result.exception
    assert len(captions("full method")) == 5
    assert set(captions("vector only")) == {"Heard"}


@pytest.mark.parametrize(
    "sounds", [("--clips", "clips.csv", "--corpus", "city.txt"), ("--reconstruct", "city.txt", "--limit", "4")]
)
def test_a_swap_captions_with_the_source_and_with_the_target(run: Run, sounds: tuple[str, ...]) -> None:
    result = run(*sounds, "--swap-from", "forest.txt")
    assert result.exit_code == 0, result.exception
    assert all("old trees" in caption for caption in captions("source corpus"))
    assert all("in the city" in caption for caption in captions("target corpus"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "name what to caption"),
        (("--clips", "clips.csv", "--reconstruct", "city.txt"), "name what to caption"),
        (("--reconstruct", "city.txt", "--where", "a=b"), "--where chooses among"),
        (("--reconstruct", "city.txt", "--ablate"), "omit --ablate"),
        (("--clips", "clips.csv", "--url", "http://x", "--ablate"), "omit --ablate"),
        (("--clips", "clips.csv", "--corpus", "city.txt", "--domain", "x"), "omit --domain"),
        (("--clips", "clips.csv", "--swap-from", "city.txt"), "--swap-from needs the target's"),
        (("--clips", "clips.csv", "--where", "split"), "--where takes column=value, got 'split'"),
        (("--clips", "clips.csv", "--where", "a=b", "--where", "a=c"), "names the column 'a' twice"),
        (("--clips", "clips.csv", "--where", "nosuch=b"), "no column 'nosuch'"),
        (("--reconstruct", "city.txt", "--limit", "21"), "20 captions, of which 21 cannot be drawn"),
        (("--clips", "clips.csv", "--out", "a.wav/x"), "the report cannot be written to a.wav/x"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, arguments: tuple[str, ...], line: str) -> None:
    assert line in refused(run(*arguments))


def test_a_bundle_that_is_not_there_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(settings: Settings) -> LoadedBundle:
        raise BundleError(f"no bundle at {settings.bundle}")

    monkeypatch.setattr("service.loading.load_bundle", nothing)
    assert refused(run("--clips", "clips.csv", "--corpus", "city.txt", "--bundle", "b")) == "no bundle at b"


@pytest.fixture
def url() -> Iterator[str]:
    """A service of fakes on a free port, with the domain forest."""

    async def open_store(_: Settings) -> DomainStore:
        store = MemoryStore()
        await store.put("forest", FOREST, FakeClap().embed_text(FOREST), FakeClap.fingerprint)
        return store

    with served(create_app(Settings(), Loaders(lambda _: FakeBundle(), open_store))) as url:
        yield url


def test_a_running_service_is_measured_over_http(run: Run, url: str) -> None:
    result = run("--clips", "clips.csv", "--domain", "forest", "--url", url)
    assert result.exit_code == 0, result.exception
    assert captions("drcap") == [f"Heard: {FOREST[number]}" for number in (4, 10, 7)]
    facts = report()["facts"]
    assert isinstance(facts, dict)
    assert str(facts["domain"]).startswith("forest, version ")


def test_what_a_service_refuses_names_the_clip_and_the_reason(run: Run, url: str) -> None:
    line = refused(run("--clips", "clips.csv", "--domain", "sea", "--url", url))
    assert line.startswith("a.wav: 404: ")
    assert "sea" in line


def test_the_command_is_defined_without_importing_what_takes_seconds() -> None:
    code = "import sys, cli.evaluate; sys.exit(any(m in sys.modules for m in ('torch', 'evaluation')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
