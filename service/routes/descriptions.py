"""What the OpenAPI document says of recordings that are sent and of captions that are answered."""

from typing import Any

from pydantic import BaseModel

from service.http.uploads import FIELD
from service.schemas import EXAMPLE_CAPTION

RECORDING = {"type": "string", "format": "binary", "description": "the recording: WAV, FLAC, OGG, MP3 or AIFF"}

TEXTS: dict[str, Any] = {
    "text/plain": {"example": f"{EXAMPLE_CAPTION}\n"},
    "application/x-subrip": {"example": "1\n00:00:00,000 --> 00:00:02,300\nRain falls.\n"},
    "text/vtt": {"example": "WEBVTT\n\n00:00:00.000 --> 00:00:02.300\nRain falls.\n"},
}
"""The content of answers that are no JSON, by media type."""


def form_of(fields: type[BaseModel]) -> dict[str, Any]:
    """The schema of a form: the recording, and the fields beside it."""
    schema = fields.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        "type": "object",
        "required": [FIELD, *schema.get("required", ())],
        "properties": {FIELD: RECORDING} | schema["properties"],
    }
