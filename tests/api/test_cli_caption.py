"""``drcap caption`` against a service of fakes."""

import csv
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from datastores.base import DomainStore
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from service.app import create_app
from service.runtime import Loaders
from service.settings import AdmissionSettings, AudioSettings, Settings
from tests.api.test_cli import run
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.memory_store import MemoryStore
from tests.recordings import wav
from tests.served import served

CITY = ["tone 4", "tone 9 ,\nfar", "tone 7", "a tram rings"]

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]
Command = Callable[..., int | str]


class Counting(FakeDecoder):
    """Counts what it writes; waits for its gate before the caption of ``held``."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.held: str | None = None
        self.gate = threading.Event()

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        made = super().generate(prompts, options)
        self.written += [one.text for one in made]
        if self.held is not None and any(self.held in one.text for one in made):
            assert self.gate.wait(20)
        return made


@pytest.fixture
def decoder() -> Counting:
    return Counting()


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
def url(decoder: Counting, settings: Settings) -> Iterator[str]:
    """A service of fakes on a free port, with the domains city and forest."""

    async def open_store(_: Settings) -> DomainStore:
        store, clap = MemoryStore(), FakeClap()
        await store.put("city", CITY, clap.embed_text(CITY), clap.fingerprint)
        await store.put("forest", ["an owl calls"], clap.embed_text(["an owl calls"]), clap.fingerprint)
        return store

    with served(create_app(settings, Loaders(lambda _: FakeBundle(decoder=decoder), open_store))) as url:
        yield url
        decoder.gate.set()


@pytest.fixture
def caption(monkeypatch: Patch, tmp_path: Path, url: str) -> Command:
    """The command in a folder with ``r/a.wav`` (tone 4), ``r/b.wav`` (tone 9), ``r/x/c.wav`` (tone 7)."""
    monkeypatch.chdir(tmp_path)
    Path("r/x").mkdir(parents=True)
    Path("r/a.wav").write_bytes(wav(hertz=400))
    Path("r/b.wav").write_bytes(wav(hertz=900))
    Path("r/x/c.wav").write_bytes(wav(hertz=700))

    def command(*arguments: str) -> int | str:
        domain = [] if "--domain" in arguments else ["--domain", "city"]
        return run(monkeypatch, "caption", *arguments, *domain, "--url", url)

    return command


def rows(path: str = "out.ndjson") -> dict[str, dict[str, object]]:
    read = [json.loads(line) for line in Path(path).read_text().splitlines()]
    by_path = {row["path"]: row for row in read}
    assert len(by_path) == len(read)
    return by_path


def test_a_folder_is_captioned_in_the_order_of_its_files(caption: Command, capsys: Capture) -> None:
    assert caption("r") == 0
    said = capsys.readouterr()
    assert said.out == "r/a.wav: Heard: tone 4\nr/b.wav: Heard: tone 9 ,\nfar\nr/x/c.wav: Heard: tone 7\n"
    assert said.err.startswith("3 captioned in ")


def test_one_recording_is_its_caption_alone(caption: Command, capsys: Capture) -> None:
    assert caption("r/a.wav") == 0
    assert capsys.readouterr() == ("Heard: tone 4\n", "")


def test_a_recording_comes_from_stdin(caption: Command, capsys: Capture, monkeypatch: Patch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(wav(hertz=700))))
    assert caption("-") == 0
    assert capsys.readouterr().out == "Heard: tone 7\n"


def test_a_pipe_that_is_named_is_read(caption: Command, capsys: Capture) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(wav(hertz=700)))
    writer.start()
    assert caption("pipe") == 0
    writer.join()
    assert capsys.readouterr().out == "Heard: tone 7\n"


def test_a_table_holds_what_the_service_said(caption: Command, capsys: Capture) -> None:
    assert caption("r", "--out", "out.ndjson") == 0
    found = rows()
    assert sorted(found) == ["r/a.wav", "r/b.wav", "r/x/c.wav"]
    row = found["r/a.wav"]
    assert (row["caption"], row["domain"], row["duration"], row["error"]) == ("Heard: tone 4", "city", 1.0, None)
    assert capsys.readouterr().out == ""


def test_a_table_for_spreadsheets_keeps_commas_and_line_breaks(caption: Command) -> None:
    assert caption("r", "--out", "out.csv") == 0
    with Path("out.csv").open(newline="") as file:
        found = {row["path"]: row for row in csv.DictReader(file)}
    assert found["r/b.wav"]["caption"] == "Heard: tone 9 ,\nfar"
    assert found["r/b.wav"]["similar_captions"].startswith("tone 9 ,\nfar | ")


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_table_may_be_printed(caption: Command, capsys: Capture, form: str) -> None:
    assert caption("r/a.wav", "r/x", "--format", form) == 0
    said = capsys.readouterr().out
    if form == "csv":
        paths = [row["path"] for row in csv.DictReader(io.StringIO(said))]
    else:
        paths = [json.loads(line)["path"] for line in said.splitlines()]
    assert paths == ["r/a.wav", "r/x/c.wav"]


@pytest.mark.parametrize("out", ["out.ndjson", "out.csv"])
def test_a_run_that_was_stopped_goes_on_after_half_a_line(
    caption: Command, capsys: Capture, decoder: Counting, out: str
) -> None:
    assert caption("r/a.wav", "--out", out) == 0
    with Path(out).open("ab") as file:
        file.write(b'{"path": "r/b.wav", "capt' if out.endswith("json") else b'r/b.wav,"Heard: tone 9 ,\nfa')
    capsys.readouterr()
    assert caption("r", "--out", out) == 0
    assert sorted(decoder.written) == ["Heard: tone 4", "Heard: tone 7", "Heard: tone 9 ,\nfar"]
    assert "2 captioned, 1 done before in " in capsys.readouterr().err
    if out.endswith("json"):
        assert sorted(rows()) == ["r/a.wav", "r/b.wav", "r/x/c.wav"]
    else:
        with Path(out).open(newline="") as file:
            assert [row["path"] for row in csv.DictReader(file)].count("r/b.wav") == 1
    assert caption("r", "--out", out) == 0
    assert len(decoder.written) == 3
    assert "0 captioned, 3 done before in " in capsys.readouterr().err


def test_a_table_in_another_domain_is_no_answer(caption: Command) -> None:
    assert caption("r", "--out", "out.ndjson") == 0
    error = str(caption("r", "--out", "out.ndjson", "--domain", "forest"))
    assert "in the domain 'city', not in 'forest'" in error
    assert caption("r", "--out", "out.ndjson", "--domain", "forest", "--force") == 0
    assert {row["caption"] for row in rows().values()} == {"Heard: an owl calls"}


def test_a_bad_recording_does_not_stop_the_others_and_is_tried_again(caption: Command, capsys: Capture) -> None:
    Path("r/a.wav").write_bytes(b"no audio")
    Path("r/zero.wav").write_bytes(b"")
    assert caption("r", "--out", "out.ndjson") == 1
    said = capsys.readouterr().err
    assert "drcap: r/a.wav: 415: this is not audio" in said
    assert "drcap: r/zero.wav: 422: the recording is empty" in said
    assert "2 captioned, 2 failed in " in said
    found = rows()
    assert str(found["r/a.wav"]["error"]).startswith("415: ")
    assert found["r/b.wav"]["error"] is None
    Path("r/a.wav").write_bytes(wav(hertz=400))
    Path("r/zero.wav").unlink()
    assert caption("r", "--out", "out.ndjson") == 0
    assert rows()["r/a.wav"]["caption"] == "Heard: tone 4"


def test_a_bad_recording_alone_is_one_line(caption: Command, capsys: Capture) -> None:
    Path("bad.wav").write_bytes(b"no audio")
    assert caption("bad.wav") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("drcap: bad.wav: 415: ")
    assert said.err.count("\n") == 1


def test_subtitles_lie_beside_the_recordings_and_stay(caption: Command, capsys: Capture, decoder: Counting) -> None:
    Path("r/b.vtt").write_text("mine\n")
    Path("r/x/c.flac").write_bytes(Path("r/x/c.wav").read_bytes())
    assert caption("r", "--format", "vtt", "--beside") == 0
    assert Path("r/a.vtt").read_text() == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHeard: tone 4\n"
    assert Path("r/b.vtt").read_text() == "mine\n"
    assert sorted(path.name for path in Path("r/x").iterdir()) == ["c.flac", "c.flac.vtt", "c.wav", "c.wav.vtt"]
    assert "3 captioned, 1 done before in " in capsys.readouterr().err
    assert caption("r", "--format", "vtt", "--beside", "--force") == 0
    assert Path("r/b.vtt").read_text().startswith("WEBVTT")


@pytest.mark.parametrize(
    ("form", "suffix", "begins"),
    [("srt", "srt", "1\n"), ("text", "txt", "Heard"), ("json", "json", "{"), ("verbose_json", "json", "{")],
)
def test_another_folder_gets_a_file_each(caption: Command, form: str, suffix: str, begins: str) -> None:
    assert caption("r", "--format", form, "--out", "made/here") == 0
    made = sorted(str(path) for path in Path("made").rglob("*") if path.is_file())
    assert made == [f"made/here/a.{suffix}", f"made/here/b.{suffix}", f"made/here/x/c.{suffix}"]
    assert Path(f"made/here/a.{suffix}").read_text().startswith(begins)


def test_captions_come_in_order_though_one_takes_longer(
    caption: Command, capsys: Capture, decoder: Counting, monkeypatch: Patch
) -> None:
    decoder.held = "tone 4"
    # The first waits until the others were sent, which is known by nothing but their being written too.
    threading.Timer(0.3, decoder.gate.set).start()
    assert caption("r", "--parallel", "3") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("r/")] == [
        "r/a.wav",
        "r/b.wav",
        "r/x/c.wav",
    ]


class TestAServiceOfSmallBodies:
    """A body may have a megabyte."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(audio=AudioSettings(max_bytes=1 << 20))

    def test_takes_the_others_when_one_is_too_large(self, caption: Command, capsys: Capture) -> None:
        Path("r/a.wav").write_bytes(bytes(50 << 20))
        assert caption("r", "--out", "out.ndjson") == 1
        assert [row["error"] is None for _, row in sorted(rows().items())] == [False, True, True]
        assert "DRCAP_AUDIO__MAX_BYTES" in capsys.readouterr().err


class TestABusyService:
    """One request is let in at a time."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(admission=AdmissionSettings(captions=1))

    def test_is_asked_again_until_all_is_done(self, caption: Command) -> None:
        assert caption("r", "--parallel", "3", "--out", "out.ndjson") == 0
        assert {row["error"] for row in rows().values()} == {None}


def test_what_is_wrong_with_every_recording_ends_it_in_one_line(caption: Command, capsys: Capture) -> None:
    error = str(caption("r", "--domain", "nowhere", "--out", "out.ndjson"))
    assert error.startswith("drcap: 404: ")
    assert "\n" not in error
    assert not Path("out.ndjson").exists()
    assert capsys.readouterr().err == ""


def test_no_service_is_one_line(monkeypatch: Patch, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.wav").write_bytes(wav())
    error = str(run(monkeypatch, "caption", str(tmp_path), "--url", "http://127.0.0.1:9"))
    assert error.startswith("drcap: no answer from http://127.0.0.1:9/caption: ")
    assert "\n" not in error
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_says_what_was_done_and_how_to_go_on(
    caption: Command, capsys: Capture, monkeypatch: Patch
) -> None:
    taken = 0
    from cli.captioning.tables import TableOutput

    original = TableOutput.take

    def take(self: TableOutput, outcome: object) -> None:
        nonlocal taken
        taken += 1
        if taken == 2:
            raise KeyboardInterrupt
        original(self, outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(TableOutput, "take", take)
    assert caption("r", "--out", "out.ndjson", "--parallel", "1") == 130
    said = capsys.readouterr().err
    assert said.startswith("interrupted: 1 captioned in ")
    assert said.endswith("; the same command continues\n")
    monkeypatch.undo()


def test_an_empty_folder_is_one_line(caption: Command) -> None:
    Path("empty").mkdir()
    assert caption("empty") == "drcap: there are no recordings in empty"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--beside"], "--beside needs a --format"),
        (["--beside", "--format", "csv"], "--beside needs a --format"),
        (["--out", "captions"], "--out captions needs a --format: ndjson or csv"),
        (["--out", "a.vtt", "--format", "vtt"], "--out is a folder if --format is vtt"),
        (["--corpus", "r/a.wav"], "--corpus goes with --local"),
        (["--local"], "--local asks no service: omit --url"),
        (["-", "--beside", "--format", "vtt"], "a recording from stdin has no file name"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    caption: Command, capsys: Capture, arguments: list[str], line: str
) -> None:
    assert caption("r", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"drcap: {line}")
    assert said.count("\n") == 1


def test_a_file_that_is_not_there_and_a_format_that_is_none_are_usage_errors(caption: Command, capsys: Capture) -> None:
    assert caption("nowhere.wav") == 2
    assert "nowhere.wav" in capsys.readouterr().err
    assert caption("r", "--format", "mp3") == 2
    assert "'mp3' is not one of" in " ".join(capsys.readouterr().err.split())
