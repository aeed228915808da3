"""Errors in the shape of OpenAI's API."""

import re
from collections.abc import Mapping

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from service.errors import BadField, InvalidDomain, NotAuthenticated, RateExceeded, UnknownDomain

OPENAI_PREFIX = "/v1/"
"""The prefix of the paths of OpenAI's API."""

# Codes that clients of OpenAI know. Any other code is the slug of the problem document.
_CODES = {
    NotAuthenticated.slug: "invalid_api_key",
    RateExceeded.slug: "rate_limit_exceeded",
    UnknownDomain.slug: "model_not_found",
    InvalidDomain.slug: "model_not_found",
}
# The index of a list item is dropped: "include.0: ..." is about the field include.
_FIELD = re.compile(r"([A-Za-z][\w-]*)[\w.\[\]-]*: ")


class ErrorBody(BaseModel):
    """The details of an error."""

    message: str = Field(description="What is wrong, and what to change.", examples=["there is no domain 'cty'"])
    type: str = Field(description="One of invalid_request_error, requests (for an exceeded rate) and server_error.")
    param: str | None = Field(description="The invalid field, if the error is about a field.", examples=["model"])
    code: str = Field(description="A stable code for programs.", examples=["model_not_found"])


class ErrorAnswer(BaseModel):
    """An error in the shape of OpenAI's API."""

    error: ErrorBody


def error_response(status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer for an error.

    Clients of OpenAI repeat each 409 and 5xx. The header ``x-should-retry`` makes them repeat only errors with a
    ``Retry-After``.
    """
    code = _CODES.get(slug, slug.replace("-", "_"))
    param = None
    if code == "model_not_found":
        status, param = UnknownDomain.status, "model"
        detail += "; a model is a domain here, GET /v1/models lists them"
    elif slug == BadField.slug and (field := _FIELD.match(detail)):
        param = field[1]
    answer = ErrorAnswer(error=ErrorBody(message=detail, type=_type(status), param=param, code=code))
    given = dict(headers or {})
    given["x-should-retry"] = "true" if "Retry-After" in given else "false"
    return JSONResponse(answer.model_dump(), status_code=status, headers=given)


def _type(status: int) -> str:
    if status == RateExceeded.status:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"
