"""How the body of an upload may be packed."""

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.errors import BadField
from service.http.uploads import read_upload


def request(coding: str, media_type: str) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"\x1f\x8b...", "more_body": False}

    headers = [(b"content-encoding", coding.encode()), (b"content-type", media_type.encode())]
    return Request({"type": "http", "method": "PUT", "path": "/", "headers": headers}, receive)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "identity", ""])
async def test_a_body_as_gzip_is_handed_on_as_it_is(coding: str) -> None:
    assert (await read_upload(request(coding, "text/csv"), ())).data == b"\x1f\x8b..."


@pytest.mark.parametrize(
    ("coding", "media_type", "message"),
    [
        ("br", "text/csv", "'br' is unknown"),
        ("gzip, gzip", "text/csv", "is unknown"),
        ("gzip", "multipart/form-data; boundary=x", "a form cannot be gzip"),
    ],
)
async def test_another_coding_and_a_packed_form_are_refused(coding: str, media_type: str, message: str) -> None:
    with pytest.raises(BadField, match=f"content-encoding: .*{message}"):
        await read_upload(request(coding, media_type), ())
