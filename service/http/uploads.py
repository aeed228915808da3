"""Request bodies: a file as the multipart field ``file`` or as the whole body, with its fields beside it."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from service.errors import BadField, ClientGone
from service.monitoring.tracing import span

FIELD = "file"

FORM = "multipart/form-data"
# Readers recognise gzip by its first bytes, so a body in this coding is read like a compressed file.
_CODINGS = {"", "identity", "gzip", "x-gzip"}


@dataclass(frozen=True)
class Upload:
    """A file that a client has sent.

    Attributes:
        data: the bytes of the file.
        fields: the other form fields.
        lists: the form fields that may be repeated, each with all its values.
    """

    data: bytes
    fields: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class UploadForm:
    """A multipart form with one file.

    Attributes:
        file: the file, which can be read while the form is open.
        fields: the other form fields.
        lists: the form fields that may be repeated, each with all its values.
    """

    file: UploadFile
    fields: Mapping[str, str]
    lists: Mapping[str, Sequence[str]]


async def read_upload(request: Request, known: Collection[str], lists: Collection[str] = ()) -> Upload:
    """Read the whole body into memory. The body limit bounds its size.

    Args:
        request: the request with the body.
        known: form fields that may accompany the file, each at most once.
        lists: form fields that may be repeated.

    Raises:
        BadField: the form lacks ``file``, has an unknown or repeated field, or a file where a text is expected; or
            the content coding is unknown, or is gzip for a form.
        ClientGone: the client left during the upload.
    """
    async with receiving(request) as media_type:
        if media_type != FORM:
            return Upload(await request.body())
        async with request.form(max_files=8, max_fields=64) as form:
            parsed = parse_form(form.multi_items(), "recording.wav", known, lists)
            return Upload(await parsed.file.read(), parsed.fields, parsed.lists)


@asynccontextmanager
async def receiving(request: Request) -> AsyncIterator[str]:
    """Check the content coding, and trace the block that reads the body. Yields the media type of the body.

    Raises `BadField` for a content coding that cannot be read, and `ClientGone` if the client leaves in the block.
    """
    media_type = media_type_of(request.headers.get("content-type", ""))
    _check_coding(request.headers.get("content-encoding", ""), media_type)
    try:
        with span("upload"):
            yield media_type
    except ClientDisconnect as error:
        raise ClientGone("the client left during the upload") from error


def parse_form(
    items: Sequence[tuple[str, UploadFile | str]],
    example: str,
    known: Collection[str] = (),
    lists: Collection[str] = (),
) -> UploadForm:
    """Check the items of a form and sort them.

    Args:
        items: names and values, in the order of the form.
        example: a file name for the message about a file that was sent as a text.
        known: fields that may accompany the file, each at most once.
        lists: fields that may be repeated.

    Raises `BadField` if the file is missing, or a field is unknown, repeated or of the wrong kind.
    """
    file: UploadFile | None = None
    fields: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in items:
        if name in fields or (name == FIELD and file is not None):
            raise BadField(f"{name}: is given more than once")
        if name == FIELD:
            if isinstance(value, str):
                raise BadField(f"{FIELD}: is a text, not a file; with curl write -F {FIELD}=@{example}")
            file = value
        elif isinstance(value, UploadFile):
            raise BadField(f"{name}: is not the field for a file; use {FIELD!r}")
        elif name in lists:
            repeated.setdefault(name, []).append(value)
        elif name not in known:
            names = ", ".join([FIELD, *sorted({*known, *lists})])
            raise BadField(f"{name}: is not a known field; the known fields are {names}")
        else:
            fields[name] = value
    if file is None:
        raise BadField(f"{FIELD}: is missing from the form")
    return UploadForm(file, fields, repeated)


def media_type_of(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _check_coding(content_encoding: str, media_type: str) -> None:
    coding = content_encoding.strip().lower()
    if coding not in _CODINGS:
        raise BadField(f"content-encoding: {coding[:40]!r} is unknown; send the file without a coding, or as gzip")
    if "gzip" in coding and media_type == FORM:
        raise BadField("content-encoding: a form cannot be gzip; send a plain form with a gzip file in it")
