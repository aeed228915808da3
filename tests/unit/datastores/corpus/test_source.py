"""Corpora in every format, also as gzip, whole and damaged."""

import contextlib
import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datastores.corpus.error import CorpusError
from datastores.corpus.formats import FORMATS
from datastores.corpus.reader import OnError
from tests.storage import limits, read_corpus

TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "text": "text/plain",
}
WRITERS: dict[str, Callable[[list[str]], str]] = {
    "json": lambda captions: json.dumps({"captions": captions}, indent=1),
    "ndjson": lambda captions: "\n".join(json.dumps({"caption": caption}) for caption in captions),
    "csv": lambda captions: (
        "id,caption\n" + "".join(f'7,"{caption.replace(chr(34), chr(34) * 2)}"\n' for caption in captions)
    ),
    "tsv": lambda captions: (
        "id\tcaption\n" + "".join(f'7\t"{caption.replace(chr(34), chr(34) * 2)}"\n' for caption in captions)
    ),
    "text": "\n".join,
}
# A prefix keeps each one from being empty; none ends in punctuation and all differ, so all are kept.
captions_lists = st.lists(st.text(st.sampled_from("ab \"',;é雨[{"), max_size=8), min_size=1, max_size=6).map(
    lambda texts: [" ".join(f"c{at} {text} z".split()) for at, text in enumerate(texts)]
)


def test_every_format_has_a_round_trip_below() -> None:
    assert set(TYPES) == set(WRITERS)
    assert set(TYPES.values()) == {form.media_types[0] for form in FORMATS}


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@given(captions=captions_lists)
@settings(deadline=None, max_examples=30)
def test_what_is_written_is_read_back(form: str, pack: Callable[[bytes], bytes], captions: list[str]) -> None:
    body = pack(WRITERS[form](captions).encode())
    reading = read_corpus(io.BytesIO(body), media_type=TYPES[form])
    assert list(reading) == captions
    assert reading.bytes_read == len(body)


@pytest.mark.parametrize("media_type", [*TYPES.values(), "", "application/gzip"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("on_error", ["refuse", "skip"])
@given(
    body=st.one_of(st.binary(max_size=200), st.text('{}[]",:\n\t\r\\captions1;\ufeffé', max_size=60).map(str.encode))
)
@settings(deadline=None, max_examples=25)
def test_any_bytes_are_read_or_refused_and_every_entry_counted(
    media_type: str, pack: Callable[[bytes], bytes], on_error: OnError, body: bytes
) -> None:
    kept: list[str] = []
    with contextlib.suppress(CorpusError):
        reading = read_corpus(io.BytesIO(pack(body)), media_type=media_type, on_error=on_error)
        kept.extend(reading)
        assert reading.counts.kept == len(kept) == len(set(kept))
        assert reading.counts.skipped >= len(reading.problems)
        assert on_error == "skip" or not reading.problems


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 80))
@settings(deadline=None, max_examples=100)
def test_a_gzip_that_was_changed_or_cut_is_refused_or_read(seed: int, cut: int) -> None:
    body = bytearray(gzip.compress(b"rain\nwind\nsnow\nhail\n"))
    change = random.Random(seed)
    body[change.randrange(len(body))] = change.randrange(256)
    with contextlib.suppress(CorpusError):
        list(read_corpus(io.BytesIO(bytes(body[: len(body) - cut])), media_type="text/plain"))


@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c", "c.gz"])
def test_gzip_is_known_by_its_bytes_whatever_the_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"id,caption\n1,rain\n") + gzip.compress(b"2,wind\n"))
    reading = read_corpus(tmp_path / name)
    assert list(reading) == ["rain", "wind"]
    assert reading.bytes_read == (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda body: body[:-3], "stops before its end"),
        (lambda body: body + b"rain", "damaged"),
        (lambda body: body[:-8] + b"\0" * 8, "damaged"),
        (lambda body: body[:12] + b"\xff" * 9 + body[21:], "damaged"),
    ],
)
def test_a_damaged_gzip_is_refused(damage: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(CorpusError, match=message) as refused:
        list(read_corpus(io.BytesIO(damage(gzip.compress(b"rain\nwind\n"))), on_error="skip"))
    assert refused.value.kind == "damaged"


def test_a_gzip_bomb_is_stopped_at_the_limit_in_little_memory() -> None:
    bomb = io.BytesIO(gzip.compress((b"rain " * 200 + b"\n") * 50_000, 1))
    tracemalloc.start()
    try:
        with pytest.raises(CorpusError, match=r"more than 1,000,000 bytes .*DRCAP_CORPUS__MAX_UNPACKED_BYTES"):
            list(read_corpus(bomb, limited=limits(max_unpacked_bytes=1_000_000)))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "ndjson", "csv", "text"])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, form: str) -> None:
    body = WRITERS[form](["rain " * 300 + str(at % 50) for at in range(3_000)])
    (tmp_path / "big").write_bytes(body.encode())
    tracemalloc.start()
    try:
        reading = read_corpus(tmp_path / "big", media_type=TYPES[form])
        assert sum(1 for _ in reading) == 50
        assert reading.counts.read == 3_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000 < len(body) / 2
    finally:
        tracemalloc.stop()


def test_marks_and_punctuation_in_great_number_take_no_great_time() -> None:
    body = "rain\n" + "a" + "\u0301\u0316" * 200_000 + "\n" + "." * 1_000_000 + "\nsnow\n"
    reading = read_corpus(io.BytesIO(body.encode()), on_error="skip")
    assert list(reading) == ["rain", "snow"]
    assert reading.counts.skipped == 2


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("media_type", "name"),
    [("application/vnd.apache.parquet", ""), ("", "c.parquet"), ("application/octet-stream", ""), ("text/plain", "")],
)
def test_parquet_is_no_corpus_and_the_way_out_is_named(
    pack: Callable[[bytes], bytes], media_type: str, name: str
) -> None:
    with pytest.raises(CorpusError, match=r"drcap domains put NAME FILE\.parquet") as refused:
        read_corpus(io.BytesIO(pack(b"PAR1\0\0PAR1")), media_type=media_type, filename=name)
    assert refused.value.kind == "format"


def test_a_source_that_cannot_go_back_is_recognised_and_stays_open() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation("seek")

    pipe = Pipe(gzip.compress(b"id\tcaption\n1\train\n"))
    assert list(read_corpus(pipe)) == ["rain"]
    assert not pipe.closed
