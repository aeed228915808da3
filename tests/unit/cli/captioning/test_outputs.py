"""Where captions go, and what is there already."""

import json
import os
from pathlib import Path

import pytest

from cli.captioning.outputs import FileOutput, OutputFormat, PrintedOutput, targets
from cli.captioning.requests import Outcome
from cli.captioning.rows import Csv, Ndjson, TableFormat
from cli.captioning.tables import TableOutput
from cli.common.errors import CommandError, WrongUsage
from cli.common.recordings import RecordingFile, find
from cli.common.stdin import STDIN
from service.schemas import ResponseFormat
from tests.unit.cli.captioning.test_rows import captioned, failed
from tests.unit.cli.common.test_recordings import made

KINDS = [Ndjson(), Csv()]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def recordings(*paths: str) -> list[RecordingFile]:
    return [RecordingFile(Path(path)) for path in paths]


def table(rows: TableFormat, *paths: str, domain: str | None = None, force: bool = False) -> TableOutput:
    return TableOutput(Path("out"), rows, recordings(*paths), domain, force)


def keys(rows: TableFormat) -> list[str]:
    with Path("out").open("rb") as file:
        return [row.key for row in rows.read(file)]


def named(*arguments: str, suffix: str = ".vtt", folder: Path | None = None) -> dict[str, str]:
    made_of = targets(find([Path(one) for one in arguments]).recordings, suffix, folder)
    return {str(one): str(target) for one, target in made_of.items()}


def test_every_format_of_the_service_can_be_asked_for() -> None:
    assert {form.value for form in ResponseFormat} == {form.value for form in OutputFormat if form.rows is None}


def test_answers_are_printed_in_the_order_of_the_recordings() -> None:
    said: list[str] = []
    printed = PrintedOutput(said.append, named=True)
    a, b, c = recordings("a.wav", "b.wav", "c.wav")
    printed.take(Outcome(2, c, b"third\n"))
    printed.take(Outcome(1, b, error="no"))
    assert said == []
    printed.take(Outcome(0, a, b"first\n"))
    assert said == ["a.wav: first", "c.wav: third"]


@pytest.mark.parametrize("rows", KINDS)
def test_a_table_is_continued_where_it_was_cut(rows: TableFormat) -> None:
    first = table(rows, "a.wav", "b.wav", "c.wav")
    first.take(captioned("a.wav"))
    first.take(failed("b.wav"))
    first.close()
    with Path("out").open("ab") as file:
        file.write(rows.encode(captioned("c.wav"))[:17])
    again = table(rows, "a.wav", "b.wav", "c.wav")
    assert [again.has(one) for one in recordings("a.wav", "b.wav", "c.wav")] == [True, False, False]
    again.take(captioned("b.wav"))
    again.take(captioned("c.wav"))
    again.close()
    assert keys(rows) == ["a.wav", "b.wav", "c.wav"]
    assert Path("out").read_bytes().startswith(rows.header)
    assert [path.name for path in Path().iterdir()] == ["out"]


@pytest.mark.parametrize("rows", KINDS)
def test_rows_of_recordings_that_are_not_asked_for_stay(rows: TableFormat) -> None:
    first = table(rows, "a.wav", "b.wav")
    first.take(failed("a.wav"))
    first.take(captioned("b.wav"))
    first.close()
    before = Path("out").read_bytes()
    again = table(rows, "c.wav")
    again.take(captioned("c.wav"))
    again.close()
    assert Path("out").read_bytes() == before + rows.encode(captioned("c.wav"))


def test_what_came_from_stdin_is_captioned_anew() -> None:
    rows = Ndjson()
    first = table(rows, "-")
    first.take(captioned("-"))
    first.close()
    again = table(rows, "-")
    assert not again.has(RecordingFile(STDIN))
    again.take(captioned("-"))
    again.close()
    assert keys(rows) == ["-"]


@pytest.mark.parametrize("rows", KINDS)
def test_a_file_of_something_else_is_left_alone_until_it_is_forced(rows: TableFormat) -> None:
    Path("out").write_text("my notes\n")
    with pytest.raises(CommandError, match=r"out is not a table of captions that can be continued .*--force"):
        table(rows, "a.wav")
    assert Path("out").read_text() == "my notes\n"
    forced = table(rows, "a.wav", force=True)
    forced.take(captioned("a.wav"))
    forced.close()
    assert keys(rows) == ["a.wav"]


def test_captions_in_another_domain_are_not_taken_for_done() -> None:
    first = table(Ndjson(), "a.wav", domain="city")
    first.take(captioned("a.wav"))
    first.close()
    table(Ndjson(), "a.wav", domain="city").close()
    with pytest.raises(CommandError, match="'city', not in 'forest'"):
        table(Ndjson(), "a.wav", domain="forest")


def test_two_commands_do_not_write_into_one_table() -> None:
    first = table(Ndjson(), "a.wav")
    with pytest.raises(CommandError, match="another drcap is writing to out"):
        table(Ndjson(), "a.wav")
    first.close()
    table(Ndjson(), "a.wav").close()


def test_a_table_into_which_nothing_came_is_not_there() -> None:
    table(Csv(), "a.wav").close()
    assert not Path("out").exists()


@pytest.mark.parametrize("what", ["folder", "pipe", "nowhere"])
def test_a_table_that_cannot_be_written_is_said(what: str) -> None:
    path = Path("there")
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path = path / "out"
    with pytest.raises(CommandError, match=f"^{path} "):
        TableOutput(path, Ndjson(), recordings("a.wav"), None, False)


def test_a_table_behind_a_link_stays_there_with_its_mode() -> None:
    Path("real").write_bytes(Ndjson().encode(failed("a.wav")))
    Path("real").chmod(0o640)
    Path("out").symlink_to("real")
    again = table(Ndjson(), "a.wav")
    again.take(captioned("a.wav"))
    again.close()
    assert Path("out").is_symlink()
    assert Path("real").stat().st_mode & 0o777 == 0o640
    assert json.loads(Path("real").read_text())["error"] is None


def test_files_lie_beside_their_recordings_or_as_they_do_in_another_folder() -> None:
    made(Path("r"), "a.wav", "x/b.ogg")
    assert named("r") == {"r/a.wav": "r/a.vtt", "r/x/b.ogg": "r/x/b.vtt"}
    assert named("r", folder=Path("o")) == {"r/a.wav": "o/a.vtt", "r/x/b.ogg": "o/x/b.vtt"}
    assert named("r/x/b.ogg", folder=Path("o")) == {"r/x/b.ogg": "o/b.vtt"}


def test_recordings_of_one_name_keep_their_suffix_whichever_is_asked_for() -> None:
    made(Path("r"), "a.wav", "a.flac", "b.wav")
    assert named("r") == {"r/a.flac": "r/a.flac.vtt", "r/a.wav": "r/a.wav.vtt", "r/b.wav": "r/b.vtt"}
    assert named("r/a.wav") == {"r/a.wav": "r/a.wav.vtt"}


def test_a_file_is_never_written_over_its_recording() -> None:
    made(Path("r"), "a.txt", "b.raw", "b.bin")
    assert named("r/a.txt", suffix=".txt") == {"r/a.txt": "r/a.txt.txt"}
    assert named("r/b.raw", "r/b.bin") == {"r/b.raw": "r/b.raw.vtt", "r/b.bin": "r/b.bin.vtt"}


def test_two_recordings_for_one_file_are_refused() -> None:
    made(Path(), "x/a.wav", "y/a.wav")
    with pytest.raises(WrongUsage, match=r"x/a\.wav and y/a\.wav would both be written to o/a\.wav\.vtt"):
        named("x", "y", folder=Path("o"))


def test_a_file_that_is_there_is_done_and_not_replaced() -> None:
    made(Path(), "a.wav")
    (one,) = recordings("a.wav")
    Path("a.vtt").write_text("mine")
    beside = FileOutput({one: Path("a.vtt")}, force=False)
    assert beside.has(one)
    with pytest.raises(CommandError, match="exists already"):
        beside.take(Outcome(0, one, b"WEBVTT\n"))
    assert Path("a.vtt").read_text() == "mine"
    FileOutput({one: Path("a.vtt")}, force=True).take(Outcome(0, one, b"WEBVTT\n"))
    assert Path("a.vtt").read_text() == "WEBVTT\n"
    assert {path.name for path in Path().iterdir()} == {"a.wav", "a.vtt"}


def test_a_folder_that_cannot_be_written_is_said() -> None:
    made(Path(), "o")
    (one,) = recordings("a.wav")
    with pytest.raises(CommandError, match=r"^o cannot be created: File exists"):
        FileOutput({one: Path("o/a.vtt")}, force=False).take(Outcome(0, one, b"x"))
