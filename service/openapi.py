"""The OpenAPI document: FastAPI's, with the errors the service really answers."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.http.problems import MEDIA_TYPE
from service.openai.errors import OPENAI_PREFIX, ErrorAnswer

DESCRIPTION = (
    "Captions of recordings in the words of a domain. Register a domain as a list of captions with"
    " `PUT /domains/{name}`, then send a recording to `POST /caption`. Errors are `application/problem+json`"
    " after RFC 9457, with a stable `type` and the id of the request. Routes with a lock need a key where the service"
    " has keys: scope `caption` to caption, `admin` to change domains and to follow jobs, either to look domains up."
    " Under `/v1` the service speaks as OpenAI's API does, its errors too."
)
_REFERENCE = "#/components/schemas/{model}"
_PROBLEMS = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
_OPENAI_ERRORS = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=ErrorAnswer.__name__)}}}
_FASTAPI_ERRORS = ("HTTPValidationError", "ValidationError")


def install_openapi(app: FastAPI) -> None:
    """Replace the app's OpenAPI document; it is built at the first request and kept."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for path, operations in document["paths"].items():
        errors = _OPENAI_ERRORS if path.startswith(OPENAI_PREFIX) else _PROBLEMS
        for operation in operations.values():
            _correct_errors(operation["responses"], errors)
    schemas = document["components"]["schemas"]
    schemas |= models_json_schema([(ErrorAnswer, "serialization")], ref_template=_REFERENCE)[1]["$defs"]
    for name in _FASTAPI_ERRORS:
        schemas.pop(name, None)
    return document


def _correct_errors(responses: dict[str, Any], errors: dict[str, Any]) -> None:
    """A wrong field is a 400 here, never FastAPI's 422, and every error has this content."""
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    for status, response in responses.items():
        if status.isdigit() and int(status) >= 400:
            response["content"] = errors
