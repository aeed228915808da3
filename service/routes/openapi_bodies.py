"""Bodies in the OpenAPI document: recordings in requests, and captions in answers."""

from typing import Any

from pydantic import BaseModel

from service.audio.decoding import HIGHEST_RATE, LOWEST_RATE
from service.audio.formats import NAMES
from service.http.uploads import FIELD
from service.schemas import EXAMPLE_CAPTION

RECORDING = {
    "type": "string",
    "format": "binary",
    "description": (
        f"The recording as {NAMES}, {LOWEST_RATE // 1000} to {HIGHEST_RATE // 1000} kHz, with any number of channels."
    ),
}

TEXTS: dict[str, Any] = {
    "text/plain": {"example": f"{EXAMPLE_CAPTION}\n"},
    "application/x-subrip": {"example": "1\n00:00:00,000 --> 00:00:02,300\nRain falls.\n"},
    "text/vtt": {"example": "WEBVTT\n\n00:00:00.000 --> 00:00:02.300\nRain falls.\n"},
}
"""The content of answers other than JSON, by media type."""


def form_of(fields: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a form with the recording and these fields."""
    schema = fields.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        "type": "object",
        "required": [FIELD, *schema.get("required", ())],
        "properties": {FIELD: RECORDING} | schema["properties"],
    }
