"""Forms for /v1/audio/transcriptions as no client of OpenAI's would send them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.live import live_with_two_domains
from tests.recordings import wav

PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with live_with_two_domains(tmp_path_factory.mktemp("jobs")) as url:
        yield url


@pytest.mark.parametrize(
    ("form", "param", "words"),
    [
        ({"data": {"model": "city"}, "files": {"audio": ("a.wav", b"")}}, "audio", "use 'file'"),
        ({"files": {"model": (None, "city")}}, "file", "missing"),
        ({"files": {"file": (None, "a.wav"), "model": (None, "city")}}, "file", "not a file"),
        ({"files": {"file": ("a.wav", wav())}}, "model", "required"),
        ({"files": [("file", ("a", wav())), ("file", ("b", wav()))], "data": {"model": "city"}}, "file", "once"),
        ({"files": {"file": ("a", wav())}, "data": {"model": ["city", "forest"]}}, "model", "once"),
        ({"content": wav(), "headers": {"content-type": "audio/wav"}}, "content-type", "multipart/form-data"),
        ({"json": {"model": "city"}}, "content-type", "application/json"),
        ({"content": b"", "headers": {}}, "content-type", "multipart/form-data"),
    ],
)
def test_a_form_that_is_not_right_is_refused_by_its_field(
    url: str, form: dict[str, Any], param: str, words: str
) -> None:
    answer = httpx.post(url + PATH, **form)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "bad_field", param)
    assert words in error["message"]


def test_a_file_without_a_name_is_read_and_lists_may_be_spelled_without_brackets(url: str) -> None:
    fields = {"model": b"city", "response_format": b"verbose_json", "timestamp_granularities": b"segment"}
    parts = [(f'name="{name}"', value) for name, value in fields.items()] + [('name="file"; filename=""', wav())]
    body = b"".join(
        f"--x\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n" for head, value in parts
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(url + PATH, content=body + b"--x--\r\n", headers=headers)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["segments"]) == 1
