"""The OpenAPI document: FastAPI's document with the real error answers of the service."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.http.problems import MEDIA_TYPE
from service.openai.errors import OPENAI_PREFIX, ErrorAnswer

DESCRIPTION = (
    "This service captions recordings in the words of a domain. Register a domain as a list of captions with"
    " `PUT /domains/{name}`, then send a recording to `POST /caption`. Errors are `application/problem+json`"
    " documents of RFC 9457 with a stable `type` and the id of the request. If the service has keys, the routes with a"
    " lock require one. A key with the scope `caption` can caption recordings. A key with the scope `admin` can change"
    " domains and follow jobs. Either scope suffices to list, show and search domains. The routes under `/v1` have the"
    " requests, answers and errors of OpenAI's API."
)
_REFERENCE = "#/components/schemas/{model}"
_PROBLEMS = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
_OPENAI_ERRORS = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=ErrorAnswer.__name__)}}}
_FASTAPI_ERRORS = ("HTTPValidationError", "ValidationError")


def install_openapi(app: FastAPI) -> None:
    """Replace the OpenAPI document of the app. It is built at the first request and then kept."""

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
    """Set the content of all errors, and remove FastAPI's 422, because an invalid field is a 400 here."""
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    for status, response in responses.items():
        if status.isdigit() and int(status) >= 400:
            response["content"] = errors
