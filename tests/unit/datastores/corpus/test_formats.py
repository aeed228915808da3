"""The table of formats, and the page, which repeats it."""

import io
import re
from pathlib import Path

import pytest

from datastores.corpus.formats import FORMATS, CorpusFormat, suffixes, titles
from tests.storage import read_corpus

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.suffixes[0])
def test_the_example_of_a_format_is_read_under_each_of_its_names(form: CorpusFormat) -> None:
    for name in (f"corpus{suffix}" for suffix in form.suffixes):
        reading = read_corpus(io.BytesIO(form.example.encode()), filename=name)
        assert list(reading) == ["A tram rings its bell.", "Rain falls."]
    for media_type in form.media_types:
        reading = read_corpus(io.BytesIO(form.example.encode()), media_type=media_type)
        assert list(reading) == ["A tram rings its bell.", "Rain falls."]


def test_the_formats_are_listed_for_people() -> None:
    assert titles() == "JSON, NDJSON, CSV, TSV or plain text with one caption a line"
    assert suffixes(".parquet") == ".json, .ndjson, .csv, .tsv, .txt or .parquet"


def test_the_page_offers_files_of_every_format() -> None:
    page = (ROOT / "service" / "static" / "index.html").read_text()
    offered = re.search(r'id="corpus" type="file" accept="([^"]*)"', page)
    assert offered is not None
    assert {form.suffixes[0] for form in FORMATS} < set(offered[1].split(","))
