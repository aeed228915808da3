"""Parts of the OpenAPI document that routes share: bodies of recordings and captions, and error answers."""

from typing import Any

from pydantic import BaseModel

from service.audio.decoding import HIGHEST_RATE, LOWEST_RATE
from service.audio.formats import NAMES
from service.http.problems import MEDIA_TYPE
from service.http.uploads import FIELD
from service.schemas import EXAMPLE_CAPTION, Problem

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


_MEANINGS = {
    400: "A field, parameter or name is invalid. The detail names it.",
    401: "The key is missing or unknown.",
    403: "The key lacks the scope, or may not use the domain.",
    404: "The domain or job does not exist.",
    408: "The body arrives too slowly. The detail names the setting.",
    409: "The domain is busy or was embedded by another CLAP, or the job has finished.",
    413: "The body or the recording exceeds a limit. The detail names the setting.",
    415: "The format of the body is not supported.",
    422: "The recording is damaged, cut short, empty or silent.",
    429: "The key has exceeded its rate. `Retry-After` says when to try again.",
    503: "The service is not ready or is overloaded. `Retry-After` says when to try again.",
    504: "The deadline has passed before the answer was complete.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route for its documentation."""
    return {
        status: {
            "description": _MEANINGS[status],
            "model": Problem,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


GUARDED = problems(401, 403, 429)
"""The error answers of each route that requires a key if the service has keys."""
