"""Requests that no client library would send: forms and HTTP broken by hand, as bytes for a socket."""

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.fuzz.recordings import KINDS, whole
from tests.raw import head

_FIELDS = ("file", "domain", "response_format", "num_beams", "seed", "temperature", "", "é", "FILE", "a" * 300, "x\0y")
_VALUES = ("city", "no-such", "json", "srt", "1", "-1", "1e400", "nan", "", "é" * 200, "\0", "../..", "1" * 5000)
_DISPOSITIONS = (
    'form-data; name="{name}"',
    'form-data; name="{name}"; filename="a.wav"',
    "form-data; name={name}; filename=a.wav",
    'form-data; name="{name}"; filename=""',
    'form-data; filename="../../etc/passwd"; name="{name}"',
    "form-data; name=\"{name}\"; filename*=UTF-8''%e2%82%ac.wav",
    "form-data",
    "attachment; name={name}",
    "",
)
_BOUNDARIES = ("b", "b", "b", "b", "c", "", "a" * 300, '"b"', "b; charset=utf-8", "é", "\t")
_PATHS = (
    "/caption", "/caption?domain=city", "/domains/city", "/domains/new", "/domains/..%2f..%2fetc", "/domains/%00",
    "/domains/" + "a" * 3000, "/domains/city/captions", "/domains/city/search?q=%ff",
    "/domains/city/search?q=" + "a" * 1999,
       "/jobs/" + "0" * 16, "/jobs/..", "/", "//", "*", "/%", "/docs", "/static/../app.py", "/livez", "/metrics?x",
    "/openapi.json", "/v1/models/city", "/v1/audio/transcriptions",
)  # fmt: skip
_METHODS = (
    "GET",
    "POST",
    "POST",
    "PUT",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "get",
    "X" * 50,
)
_HEADERS = (
    "X-Request-Timeout: 1e9", "X-Request-Timeout: -1", "X-Request-Timeout: 5", "X-Request-Timeout: 0.000001",
    "X-Request-ID: " + "a" * 500, "X-Request-ID: \x7f\x01", "Expect: 100-continue", "Expect: nonsense",
    "Connection: close", "Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c", "Content-Encoding: gzip",
    "Content-Encoding: br", "Content-Type: audio/wav", "Content-Type: text/plain", "Content-Type: multipart/form-data",
    "Content-Type: " + "x" * 2000, "Accept: text/event-stream", "Authorization: Bearer \xff", "X-API-Key: ",
    "traceparent: 00-" + "0" * 32 + "-" + "0" * 16 + "-01", "traceparent: ff-x", "Cookie: " + "a=b; " * 3000,
    "Transfer-Encoding: gzip, chunked", "Host: other", "X: " + "y" * 70_000, "No colon", " folded", "A\0B: c",
    "Range: bytes=0-0",
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """The bytes of a request, in the pieces they are sent in."""

    pieces: tuple[bytes, ...]


@st.composite
def forms(draw: st.DrawFn) -> Sent:
    """A form with a recording or a corpus, of which boundaries, parts, headers and length may be wrong."""
    stated = draw(st.sampled_from(_BOUNDARIES))
    boundary = draw(st.sampled_from((stated.strip('"').partition(";")[0],) * 4 + _BOUNDARIES)).encode(
        "latin-1", "replace"
    )
    body = b"".join(_part(draw, boundary) for _ in range(draw(st.sampled_from((0, 1, 1, 2, 3, 12)))))
    body += draw(st.sampled_from((b"--" + boundary + b"--\r\n",) * 5 + (b"", b"--" + boundary, b"--\r\n", b"\0" * 100)))
    path = draw(st.sampled_from(("/caption", "/caption?domain=city", "/domains/form?wait=true")))
    headers = (f"Content-Type: multipart/form-data; boundary={stated}",)
    return Sent(_in_pieces(draw, draw(_bodies("PUT" if "domains" in path else "POST", path, headers, body))))


def _part(draw: st.DrawFn, boundary: bytes) -> bytes:
    name = draw(st.sampled_from(("file",) * 6 + ("domain",) * 4 + _FIELDS))
    disposition = draw(st.sampled_from(_DISPOSITIONS[:2] * 4 + _DISPOSITIONS)).replace("{name}", name)
    lines = [f"Content-Disposition: {disposition}"]
    lines += draw(st.lists(st.sampled_from(_HEADERS), max_size=1 if draw(st.booleans()) else 20))
    value: bytes = draw(st.sampled_from([*map(whole, KINDS), b"rain\nwind\n", *(one.encode() for one in _VALUES)]))
    broken: bytes = draw(st.sampled_from((b"\r\n\r\n",) * 8 + (b"\n\n", b"\r\n", b"", b"\r\n\r\n\r\n")))
    return b"--" + boundary + b"\r\n" + "\r\n".join(lines).encode("utf-8", "replace") + broken + value + b"\r\n"


@st.composite
def heads(draw: st.DrawFn) -> Sent:
    """Any method on any path, with headers that are wrong, contradictory or huge, and perhaps a body."""
    method, path = draw(st.sampled_from(_METHODS)), draw(st.sampled_from(_PATHS))
    headers = tuple(draw(st.lists(st.sampled_from(_HEADERS), max_size=4)))
    body = draw(st.sampled_from((b"", whole("WAV"), b"rain\nwind\n", b"\0" * 10_000)))
    return Sent(_in_pieces(draw, draw(_bodies(method, path, headers, body))))


junk = st.builds(lambda data: Sent((data,)), st.binary(max_size=300))
requests = st.one_of(forms(), forms(), heads(), heads(), heads(), junk)


@st.composite
def _bodies(draw: st.DrawFn, method: str, path: str, headers: tuple[str, ...], body: bytes) -> bytes:
    """A request whose body has its length, a wrong one, two of them, or comes in chunks that may be wrong."""
    size = len(body)
    way = draw(
        st.sampled_from(("right",) * 6 + ("more", "less", "none", "twice", "nonsense", "chunked", "chunked", "both"))
    )
    lengths = {
        "right": (str(size),),
        "more": (str(size + draw(st.sampled_from((1, 1000, 10**9, 10**30)))),),
        "less": (str(draw(st.integers(0, size))),),
        "twice": (str(size), str(size + 1)),
        "nonsense": (draw(st.sampled_from(("-1", "+5", "0x10", "1e3", "", "1_0", "٣"))),),
        "both": (str(size),),
    }.get(way, ())
    stated = tuple(f"Content-Length: {one}" for one in lengths)
    if way in ("chunked", "both"):
        stated += ("Transfer-Encoding: chunked",)
        body = _chunked(draw, body)
    lines = [one.encode("utf-8", "replace").decode("latin-1") for one in (*headers, *stated)]
    return head(method, path.encode().decode("latin-1"), *lines) + body


def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    step = draw(st.sampled_from((1 << 20, 1000, 100)))
    parts = [body[at : at + step] for at in range(0, len(body), step)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    long = b"5;" + b"x" * 9000 + b"\r\nabcde\r\n0\r\n\r\n"
    wrong = (b"0\r\n", b"", b"zz\r\n\r\n", b"-1\r\n\r\n", b"f" * 16 + b"\r\n", long)
    end: bytes = draw(st.sampled_from((b"0\r\n\r\n",) * 6 + (b"0\r\nX: y\r\n\r\n", *wrong)))
    return chunks + end


def _in_pieces(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    """Whole, or in two pieces, of which the second may be missing."""
    if draw(st.integers(0, 5)):
        return (data,)
    at = draw(st.integers(0, len(data)))
    return (data[:at], data[at:]) if draw(st.booleans()) else (data[:at],)
