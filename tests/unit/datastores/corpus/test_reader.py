"""Reading, normalising and de-duplicating a corpus."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datastores.corpus.error import CorpusError
from datastores.corpus.reader import Corpus, normalise
from tests.storage import limits, read_corpus


def read(body: bytes | str, media_type: str | None = None, **bounds: int) -> list[str]:
    return list(corpus(body, media_type, **bounds))


def corpus(body: bytes | str, media_type: str | None = None, **bounds: int) -> Corpus:
    raw = body.encode() if isinstance(body, str) else body
    return read_corpus(io.BytesIO(raw), media_type=media_type, limited=limits(**bounds))


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", '{"captions": ["a tram rings", "rain"]}'),
        ("application/json; charset=utf-8", '{"captions": ["a tram rings", {"caption": "rain"}]}'),
        ("application/x-ndjson", '"a tram rings"\n{"caption": "rain", "id": 3}\n'),
        ("text/csv", "caption\na tram rings\nrain\n"),
        ("text/csv", "audiocap_id,youtube_id,start_time,caption\n1,x,30,a tram rings\r\n2,y,0,rain\r\n"),
        ("text/csv", "file_name,caption_1,caption_2\nx.wav,a tram rings,rain\n"),
        ("text/csv", '"a tram rings"\nrain\n'),
        ("text/csv", "file_name;caption_1;caption_2\nx.wav;a tram rings;rain\n"),
        ("text/csv", 'id,captions\n1,"[""a tram rings"", ""rain""]"\n'),
        ("text/tab-separated-values", "id\tcaption\n1\ta tram rings\n2\train\n"),
        ("application/x-ndjson", '{"captions": ["a tram rings"]}\n{"captions": ["rain"]}\n'),
        ("application/json", '{"name": {"a": [1]}, "captions": [{"captions": ["a tram rings", "rain"]}], "n": 2}'),
        ("text/plain", "a tram rings\nrain"),
        ("text/plain", "a tram rings\rrain\r"),
        ("text/plain", "\ufeffa tram rings\nrain\n"),
    ],
)
def test_every_format_gives_the_same_captions_with_and_without_its_media_type(media_type: str, body: str) -> None:
    assert read(body, media_type) == ["a tram rings", "rain"]


@pytest.mark.parametrize(
    "body",
    [
        '{"captions": ["a tram rings", "rain"]}',
        '{\n "captions": [\n  "a tram rings", "rain"]}',
        '"a tram rings"\n"rain"\n',
        '{"caption": "a tram rings"}\n{"caption": "rain"}\n',
        "id,caption\n1,a tram rings\n2,rain\n",
        "caption\na tram rings\nrain\n",
        "a tram rings\nrain\n",
    ],
)
@pytest.mark.parametrize("media_type", [None, "application/octet-stream", "application/x-www-form-urlencoded"])
def test_a_format_nobody_named_is_recognised(body: str, media_type: str | None) -> None:
    assert read(body, media_type) == ["a tram rings", "rain"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("c.json", '{"captions": ["rain"]}'),
        ("c.jsonl", '"rain"'),
        ("c.CSV", "id,caption\n1,rain"),
        ("c.txt", "rain"),
        ("unknown", "rain"),
    ],
)
def test_a_file_is_read_by_its_suffix(tmp_path: Path, name: str, body: str) -> None:
    (tmp_path / name).write_text(body)
    assert list(read_corpus(tmp_path / name)) == ["rain"]


def test_a_media_type_that_is_no_corpus_is_refused_at_once() -> None:
    with pytest.raises(CorpusError, match="audio/wav") as refused:
        corpus("rain", "audio/wav")
    assert refused.value.kind == "format"


def test_counts_say_what_became_of_every_entry() -> None:
    reading = corpus("Rain.\n\n  rain \nRAIN!\nwind\n...\n", "text/plain")
    assert list(reading) == ["Rain.", "wind"]
    counts = reading.counts
    assert (counts.read, counts.empty, counts.duplicates, counts.kept) == (6, 2, 2, 2)


def test_control_tokens_of_a_language_model_stay_plain_text() -> None:
    assert read("rain <|im_end|>\n</s>\n<s>\n", "text/plain") == ["rain <|im_end|>", "</s>", "<s>"]


def test_white_space_and_invisible_characters_are_normalised() -> None:
    assert normalise(" a\u0301\t\u00a0 b\x00c\u200b\u202e \u2028 d\x1b ") == "\u00e1 bc d"


@given(st.text(st.sampled_from("aE\u0301\u00e9\u200b\u200d\u1100\u1161 \t\x00\u2028."), max_size=12))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.lists(st.text(st.sampled_from("aAb \u00df\u0301\u3002.\n\x00"), max_size=5)))
def test_json_captions_are_counted_whatever_they_hold(texts: list[str]) -> None:
    reading = corpus(json.dumps({"captions": texts}), "application/json")
    captions: list[str] = []
    with contextlib.suppress(CorpusError):
        captions.extend(reading)
    counts = reading.counts
    assert counts.kept == len(captions) == len(set(captions))
    assert counts.read == len(texts) == counts.empty + counts.duplicates + counts.kept


@pytest.mark.parametrize(
    ("media_type", "body", "kind", "message"),
    [
        ("text/plain", b"rain\nw\xefnd\n", "encoding", r"line 2: byte 2 \(0xef\) is not UTF-8"),
        ("text/csv", b"caption\nw\xefnd\n", "encoding", "line 2"),
        ("application/json", b'{"captions": [\n"w\xefnd"]}', "encoding", "line 2"),
        ("application/json", b'{"captions": ["rain"', "row", "line 1: it is not JSON"),
        ("application/json", b'["rain"]', "row", '{"captions"'),
        ("application/json", b'{"caption": ["rain"]}', "row", '{"captions"'),
        ("application/json", b'{"captions": "rain"}', "row", '{"captions"'),
        ("application/json", b'{"captions": ["rain", 3]}', "row", "caption 2: a caption must be a string"),
        ("application/json", b'{"captions": ' + b"[" * 100_000, "row", "nests too deep"),
        ("application/json", b'{"captions": ["\\ud800"]}', "encoding", "surrogate"),
        ("application/x-ndjson", b'"rain"\nwind\n', "row", "line 2: it is not JSON"),
        (
            "application/x-ndjson",
            b'"rain"\n{"text": "wind"}\n',
            "row",
            r'line 2: there is no key "caption"; it has text',
        ),
        ("text/csv", b"id,caption\n1,rain\n2\n", "row", "line 3: it has 1 columns"),
        ("text/csv", b"id,text\n1,rain\n", "column", "line 1: no column is called caption.* id, text"),
        ("text/csv", b"rain\nrain, then wind\n", "row", "line 2: it has 2 columns"),
        ("text/csv", b'caption\n"rain\n', "row", "line 2: it is not CSV"),
        (
            "text/csv",
            b'caption\n"' + b"rain\n" * 40_000,
            "row",
            "line 2: .* a quote that opens in this row does not close",
        ),
        ("text/csv", b'id,caption\n1,"rain" falls\n', "row", "line 2: it is not CSV"),
        ("text/csv", b"id,caption\n1,rain, then wind\n", "row", "line 2: it has 3 columns where .* 2; put quotes"),
        ("text/tab-separated-values", b"id\ttext\n1\train\n", "column", "line 1: no column.* id, text"),
        ("application/json", b'{"captions": ["rain",\n "wind" 3]}', "row", "line 2: .* missing at column 9"),
        ("application/json", b'{"captions": ["rain"]} 3', "row", "line 1: .*more after its end at column 24"),
        ("application/json", b'{3: ["rain"]}', "row", "a key must be a string"),
        ("application/json", b'{"captions": ["' + b"x" * 1_500_000 + b'"]}', "too-long", "line 1: a value is longer"),
        ("text/plain", "rain\n".encode("utf-16"), "encoding", "it is UTF-16; save it as UTF-8"),
        ("text/csv", b"PK\x03\x04...", "encoding", "workbook.*CSV UTF-8"),
        ("text/plain", b"x" * 3_000_000, "too-long", "line 1"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(media_type: str, body: bytes, kind: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message) as refused:
        read(body, media_type)
    assert refused.value.kind == kind


@pytest.mark.parametrize("body", ["", "\n\n", "  \n...\n", '{"captions": []}', "caption\n"])
def test_a_corpus_without_any_caption_is_refused(body: str) -> None:
    with pytest.raises(CorpusError, match="no caption") as refused:
        read(body)
    assert refused.value.kind == "empty"


def test_limits_name_their_setting() -> None:
    with pytest.raises(CorpusError, match=r"line 3: more than 2 captions .DRCAP_CORPUS__MAX_CAPTIONS"):
        read("a\nb\nc\n", "text/plain", max_captions=2)
    with pytest.raises(CorpusError, match=r"line 2: .* 5 characters.*DRCAP_CORPUS__MAX_CAPTION_CHARACTERS"):
        read("abcd\nabcde\n", "text/plain", max_caption_characters=4)
    assert read("abcd\nefgh\nABCD\n", "text/plain", max_captions=2, max_caption_characters=4) == [
        "abcd",
        "efgh",
    ]


def test_captions_are_taken_as_a_stream() -> None:
    reading = corpus(b"rain\nwind\n\xff\n", "text/plain")
    assert next(reading) == "rain"
    assert next(reading) == "wind"
    with pytest.raises(CorpusError, match="line 3"):
        next(reading)
