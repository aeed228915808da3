"""Request bodies: a file as multipart field ``file`` or as the whole body, with its fields beside it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from service.errors import BadField, ClientGone
from service.monitoring.tracing import span

FIELD = "file"

FORM = "multipart/form-data"
# Readers know gzip by its first bytes, so a body sent so is like a file that is packed.
_CODINGS = {"", "identity", "gzip", "x-gzip"}


@dataclass(frozen=True)
class Upload:
    """A file that was sent.

    Attributes:
        data: its bytes.
        media_type: as stated for the file, without parameters; empty when not stated.
        filename: as stated; empty for a raw body.
        fields: the other form fields.
        lists: those of them that may be given more than once, with everything given.
    """

    data: bytes
    media_type: str
    filename: str
    fields: Mapping[str, str]
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)


async def read_upload(request: Request, known_fields: Iterable[str], lists: Iterable[str] = ()) -> Upload:
    """Read the whole body, in memory once; its size is bounded by the body limit.

    Args:
        request: whose body it is.
        known_fields: what a form may hold beside the file, each once.
        lists: what it may hold any number of times.

    Raises:
        BadField: a form without ``file``, with an unknown or repeated field, or a file in place of a text; a
            content coding other than gzip, or one of a form.
        ClientGone: the client left in the middle.
    """
    media_type = media_type_of(request.headers.get("content-type", ""))
    check_coding(request.headers.get("content-encoding", ""), media_type)
    try:
        with span("upload"):
            if media_type != FORM:
                return Upload(await request.body(), media_type, "", {})
            async with request.form(max_files=8, max_fields=64) as form:
                return await _from_form(form.multi_items(), frozenset(known_fields), frozenset(lists))
    except ClientDisconnect as error:
        raise ClientGone("the client left in the middle of the upload") from error


async def _from_form(
    items: list[tuple[str, UploadFile | str]], known: frozenset[str], repeated: frozenset[str]
) -> Upload:
    file: UploadFile | None = None
    fields: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for name, value in items:
        if name in fields or (name == FIELD and file is not None):
            raise BadField(f"{name}: is given more than once")
        if name == FIELD:
            if isinstance(value, str):
                raise BadField(f"{FIELD}: is a text, not a file; with curl write -F {FIELD}=@recording.wav")
            file = value
        elif isinstance(value, UploadFile):
            raise BadField(f"{name}: is not the field for a file; use {FIELD!r}")
        elif name in repeated:
            lists.setdefault(name, []).append(value)
        elif name not in known:
            raise BadField(f"{name}: is not a known field; known are {', '.join([FIELD, *sorted(known | repeated)])}")
        else:
            fields[name] = value
    if file is None:
        raise BadField(f"{FIELD}: is missing from the form")
    return Upload(await file.read(), media_type_of(file.content_type or ""), file.filename or "", fields, lists)


def check_coding(content_encoding: str, media_type: str) -> None:
    """Raise `BadField` for a body in a content coding other than gzip, and for a form in any."""
    coding = content_encoding.strip().lower()
    if coding not in _CODINGS:
        raise BadField(f"content-encoding: {coding[:40]!r} is not understood; send the file as it is, or as gzip")
    if "gzip" in coding and media_type == FORM:
        raise BadField("content-encoding: a form cannot be gzip; send it as it is, with the file in it as gzip")


def media_type_of(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()
