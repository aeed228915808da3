"""One table names the accepted formats, and whatever names them beside it says the same."""

import re
from pathlib import Path

import pytest

from service.audio.containers import inspect
from service.audio.formats import MEDIA_RANGES, NAMES, NAMES_WITH_CODECS, SUFFIXES, AudioFormat
from service.routes.openapi_parts import RECORDING
from tests.recordings import encode, tone

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "service/static/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", AudioFormat)
def test_every_format_is_recognised(form: AudioFormat) -> None:
    assert inspect(encode(tone(), kind=form.name)).format is form


def test_no_suffix_or_media_type_belongs_to_two_formats() -> None:
    assert len(SUFFIXES) == sum(len(one.suffixes) for one in AudioFormat)
    assert len({kind for one in AudioFormat for kind in one.media_types}) == sum(
        len(one.media_types) for one in AudioFormat
    )


def test_the_page_offers_every_format() -> None:
    match = re.search(r'<input id="file"[^>]* accept="([^"]+)"', PAGE)
    assert match is not None
    assert set(match[1].split(",")) == {*MEDIA_RANGES, *SUFFIXES}
    assert f'<p id="file-help" class="help">{NAMES}</p>' in PAGE


@pytest.mark.parametrize("document", ["README.md", "docs/api.md", "docs/faq.md", "docs/openai.md"])
def test_the_documents_name_every_format(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert any(words in text for words in (NAMES, NAMES.replace(" or ", " and "), NAMES_WITH_CODECS))


def test_the_description_of_the_api_names_every_format() -> None:
    assert NAMES in RECORDING["description"]
