"""Rows of a table of captions, written and read again."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.captioning.requests import Outcome
from cli.captioning.rows import Csv, ForeignTable, Ndjson, TableFormat
from cli.common.recordings import RecordingFile

KINDS = [Ndjson(), Csv()]
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def captioned(path: str, caption: str = "Rain falls.", similar: list[str] | None = None) -> Outcome:
    body = {
        "caption": caption,
        "domain": "city",
        "domain_version": "v1",
        "duration": 2.5,
        "similar_captions": [{"caption": one, "score": 0.5} for one in similar or []],
        "model": "fake",
    }
    return Outcome(0, RecordingFile(Path(path)), json.dumps(body).encode())


def failed(path: str) -> Outcome:
    return Outcome(0, RecordingFile(Path(path)), error="415: this is not audio")


def read(rows: TableFormat, data: bytes) -> list[tuple[str, str, bool]]:
    return [(row.key, row.domain, row.failed) for row in rows.read(io.BytesIO(data))]


def test_a_row_of_json_has_what_the_service_said() -> None:
    said = json.loads(Ndjson().encode(captioned("a.wav", similar=["Rain."])))
    assert said == {
        "path": "a.wav",
        "caption": "Rain falls.",
        "domain": "city",
        "domain_version": "v1",
        "duration": 2.5,
        "similar_captions": [{"caption": "Rain.", "score": 0.5}],
        "error": None,
    }
    assert json.loads(Ndjson().encode(failed("a.wav")))["error"] == "415: this is not audio"


def test_commas_quotes_and_line_breaks_stay_in_their_cells() -> None:
    awkward = 'Rain, "heavy",\nthen hail'
    data = Csv().header + Csv().encode(captioned("x, y.wav", awkward, [awkward, "Hail."]))
    (row,) = csv.DictReader(io.StringIO(data.decode(), newline=""))
    assert row["path"] == "x, y.wav"
    assert row["caption"] == awkward
    assert row["similar_captions"] == f"{awkward} | Hail."
    assert read(Csv(), data) == [("x, y.wav", "city", False)]


@pytest.mark.parametrize("caption", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'quoted'"])
def test_no_cell_begins_like_a_formula(caption: str) -> None:
    data = Csv().encode(captioned("=a.wav", caption))
    cells = next(csv.reader(io.StringIO(data.decode(), newline="")))
    assert cells[0] == "'=a.wav"
    assert cells[1] == f"'{caption}"


@pytest.mark.parametrize("rows", KINDS)
@given(paths=st.lists(ANY.filter(lambda text: "\0" not in text and text), max_size=4), caption=ANY)
def test_every_row_is_found_again_under_its_recording(rows: TableFormat, paths: list[str], caption: str) -> None:
    data = rows.header + b"".join(rows.encode(captioned(path, caption, [caption])) for path in paths)
    assert [key for key, _, _ in read(rows, data)] == [rows.key(Path(path)) for path in paths]


@pytest.mark.parametrize("rows", KINDS)
def test_a_name_that_is_no_unicode_is_found_again(rows: TableFormat) -> None:
    path = os.fsdecode(b"\xff.wav")
    assert read(rows, rows.header + rows.encode(captioned(path)))[0][0] == rows.key(Path(path))


@pytest.mark.parametrize("rows", KINDS)
def test_a_file_that_was_cut_anywhere_gives_the_rows_before_the_cut(rows: TableFormat) -> None:
    encoded = [
        rows.encode(one) for one in (captioned("a.wav", 'x, "y"\nz'), failed("b.wav"), captioned("c.wav", "last"))
    ]
    ends = [len(rows.header) + sum(map(len, encoded[: count + 1])) for count in range(3)]
    data = rows.header + b"".join(encoded)
    for cut in range(len(data) + 1):
        assert len(read(rows, data[:cut])) == sum(end <= cut for end in ends), data[:cut]


@pytest.mark.parametrize("rows", KINDS)
def test_half_a_last_line_may_have_got_its_end_since(rows: TableFormat) -> None:
    data = rows.header + rows.encode(captioned("a.wav")) + rows.encode(captioned("b.wav"))[:12] + b"\n"
    assert [key for key, _, _ in read(rows, data)] == ["a.wav"]


@pytest.mark.parametrize("rows", KINDS)
@pytest.mark.parametrize(
    "data", [b"my notes\n", b"my notes", b"file,caption\na.wav,x\n", b'{"file": 1}\n', b"\0\0\n\n"]
)
def test_a_file_of_something_else_is_seen(rows: TableFormat, data: bytes) -> None:
    with pytest.raises(ForeignTable, match="line 1"):
        read(rows, data)


@pytest.mark.parametrize("rows", KINDS)
def test_damage_in_the_middle_is_seen(rows: TableFormat) -> None:
    row = rows.encode(captioned("a.wav"))
    with pytest.raises(ForeignTable, match="line"):
        read(rows, rows.header + row + row[:20] + b"\n" + row)


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest() -> None:
    rows: Any = Csv()
    data = rows.header + b'a.wav,"Rain' + b"".join(rows.encode(captioned(f"{n}.wav")) for n in range(100))
    with pytest.raises(ForeignTable, match="a quote"):
        read(rows, data)
