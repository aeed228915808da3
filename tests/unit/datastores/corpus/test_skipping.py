"""Bad rows of a corpus left out and counted, and columns chosen by name."""

import io

import pytest

from datastores.corpus.error import CorpusError
from datastores.corpus.reader import Corpus
from tests.storage import limits, read_corpus


def corpus(body: bytes, media_type: str, column: str | None = None, **bounds: int) -> Corpus:
    return read_corpus(
        io.BytesIO(body), media_type=media_type, column=column, on_error="skip", limited=limits(**bounds)
    )


@pytest.mark.parametrize(
    ("media_type", "body", "places"),
    [
        ("text/plain", b"rain\nw\xefnd\nsnow\n", ["line 2: byte 2"]),
        ("text/plain", b"rain\n" + b"x" * 2_000_000 + b"\nsnow", ["line 2: it is longer"]),
        ("application/x-ndjson", b'"rain"\nwind\n3\n{"text": "x"}\n"snow"\n', ["line 2", "line 3", "line 4"]),
        ("text/csv", b'id,caption\n1,rain\n2\n3,a,b\n4,"x"y\n5,\xef\n6,snow\n', [f"line {n}" for n in range(3, 7)]),
        (
            "application/json",
            b'{"captions": ["rain", 3, {"a": "b"}, "\\ud800", "snow"]}',
            [f"caption {n}" for n in (2, 3, 4)],
        ),
    ],
)
def test_bad_rows_are_left_out_counted_and_told_with_their_place(
    media_type: str, body: bytes, places: list[str]
) -> None:
    reading = corpus(body, media_type)
    assert list(reading) == ["rain", "snow"]
    assert (reading.counts.skipped, reading.counts.read) == (len(places), len(places) + 2)
    assert all(problem.startswith(place) for problem, place in zip(reading.problems, places, strict=True))


def test_captions_over_the_limit_are_skipped_and_the_first_twenty_problems_kept() -> None:
    reading = corpus(b"rain\n" + b"abcdef\n" * 30, "text/plain", max_caption_characters=5)
    assert list(reading) == ["rain"]
    assert reading.counts.skipped == 30
    assert [problem.partition(":")[0] for problem in reading.problems] == [f"line {n}" for n in range(2, 22)]


@pytest.mark.parametrize(
    ("media_type", "body", "kind"),
    [
        ("application/json", b'{"captions": ["rain", "wind"', "row"),
        ("application/json", b'{"captions": ["rain", "w\xefnd"]}', "encoding"),
        ("text/csv", b'caption\nrain\n"wind\n', "row"),
        ("text/csv", b"\xefid,caption\n1,rain\n", "encoding"),
        ("text/csv", b"id,text\n1,rain\n", "column"),
        ("text/plain", b"rain\nwind\nsnow\n", "too-many"),
        ("text/plain", b"\xff\n", "empty"),
    ],
)
def test_what_makes_the_whole_unreadable_is_refused_all_the_same(media_type: str, body: bytes, kind: str) -> None:
    with pytest.raises(CorpusError) as refused:
        list(corpus(body, media_type, max_captions=2))
    assert refused.value.kind == kind


def test_a_corpus_of_bad_rows_only_says_what_was_wrong_first() -> None:
    with pytest.raises(CorpusError, match=r"2 entries, 0 of them empty and 2 skipped; the first: line 1: byte 1"):
        list(corpus(b"\xfe\n\xfe\n", "text/plain"))


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/csv", b"caption,Text\nno,rain\nno,snow\n"),
        ("text/csv", b"text,TEXT,Text\nno,no,rain\nno,no,snow\n"),
        ("text/tab-separated-values", b"caption\ttext\nno\train\nno\tsnow\n"),
        ("application/x-ndjson", b'{"caption": "no", "Text": "rain"}\n{"text": ["snow"]}\n'),
        ("application/json", b'{"captions": [{"caption": "no", "Text": "rain"}, {"text": "snow"}]}'),
        ("", b"id;Text\n1;rain\n2;snow\n"),
    ],
)
def test_a_column_is_taken_by_its_name_or_else_by_its_name_in_another_case(media_type: str, body: bytes) -> None:
    assert list(corpus(body, media_type, "Text")) == ["rain", "snow"]


@pytest.mark.parametrize(
    ("media_type", "body", "message"),
    [
        ("text/csv", b"id,caption\n1,rain\n", "no column is called 'Text'; it has id, caption"),
        ("text/csv", b"text,TEXT\nrain,snow\n", "no column is called 'Text'; it has text, TEXT"),
        ("text/csv", b"rain\nsnow\n", "no column is called 'Text'"),
        ("text/plain", b"rain\n", "plain text has no column 'Text'"),
        ("application/x-ndjson", b'{"caption": "rain"}\n', 'no key "Text"; it has caption'),
        ("application/x-ndjson", b'"rain"\n', 'as "Text"'),
    ],
)
def test_a_column_that_is_missing_is_refused_with_those_there_are(media_type: str, body: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        list(corpus(body, media_type, "Text"))


def test_an_unknown_way_with_errors_is_refused() -> None:
    with pytest.raises(ValueError, match="refuse, skip"):
        read_corpus(io.BytesIO(b"rain"), on_error="ignore")
