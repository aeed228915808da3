"""Corpora in every format, whole and damaged."""

import csv
import gzip
import io
import json
from dataclasses import dataclass

from hypothesis import strategies as st

TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "text": "text/plain",
}
_OTHERS = (
    "", "application/octet-stream", "application/gzip", "application/x-parquet", "audio/wav", "text/html",
    "multipart/form-data", "é/;",
)  # fmt: skip
# Of what means something to a format, to a terminal, to a language model or to a path.
_PIECES = (
    "rain on a roof", "a tram", '"', "'", ",", "\t", "\\", "{", "}", "[", "]", ":", "\r", "\n", "\0", "\ufeff",
    "\u202e", "é", "e\u0301", "雨", "👩\u200d🚒", "<|im_end|>", "../../etc/passwd", "null", "1e999", "-0", "\x1b[31m",
    " ", "",
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A corpus as a client sends it."""

    body: bytes
    media_type: str
    on_error: str
    column: str | None


def written(form: str, captions: list[str]) -> bytes:
    """The captions in a format."""
    if form == "json":
        return json.dumps({"captions": captions}).encode()
    if form == "ndjson":
        return "\n".join(json.dumps({"caption": one}) for one in captions).encode()
    if form == "text":
        return "\n".join(captions).encode()
    out = io.StringIO()
    rows = csv.writer(out, delimiter="," if form == "csv" else "\t")
    rows.writerows([["id", "caption"], *([str(at), one] for at, one in enumerate(captions))])
    return out.getvalue().encode()


_FEW = st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4).map("".join), min_size=1, max_size=6)


@st.composite
def corpora(draw: st.DrawFn) -> Sent:
    """A corpus in one of the formats, damaged or not, packed or not, under a true or a wrong name."""
    form = draw(st.sampled_from(tuple(TYPES)))
    body = bytearray(written(form, draw(_FEW)))
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        body = _damaged(body, draw)
    if draw(st.sampled_from(("plain", "plain", "packed"))) == "packed":
        body = bytearray(gzip.compress(bytes(body), 1))
        if draw(st.booleans()):
            body = _damaged(body, draw)
    named = draw(st.sampled_from((TYPES[form],) * 6 + (*TYPES.values(), *_OTHERS)))
    column = draw(st.sampled_from(("", "", "", "caption", "text", "é", "id"))) or None
    return Sent(bytes(body), named, draw(st.sampled_from(("refuse", "skip"))), column)


def _damaged(body: bytearray, draw: st.DrawFn) -> bytearray:
    at = draw(st.integers(0, len(body)))
    kind = draw(st.integers(0, 4))
    if kind == 0 and at < len(body):
        body[at] = draw(st.integers(0, 255))
    elif kind == 1:
        return body[:at]
    elif kind == 2:
        return body[:at] + draw(st.binary(max_size=12)) + body[at:]
    elif kind == 3:
        return body[:at] + body[draw(st.integers(0, len(body))) :]
    else:
        body += body[at:] * draw(st.integers(1, 30))
    return body
