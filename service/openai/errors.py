"""Errors in the shape that clients of OpenAI's API read."""

import re
from collections.abc import Mapping

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from service.errors import BadField, InvalidDomain, NotAuthenticated, RateExceeded, UnknownDomain

OPENAI_PREFIX = "/v1/"
"""Where the paths of OpenAI's API begin."""

# Names that clients know; every other code is the slug of the problem document.
_CODES = {
    NotAuthenticated.slug: "invalid_api_key",
    RateExceeded.slug: "rate_limit_exceeded",
    UnknownDomain.slug: "model_not_found",
    InvalidDomain.slug: "model_not_found",
}
# Of a list, which item it is does not matter: "include.0: ..." is about include.
_FIELD = re.compile(r"([A-Za-z][\w-]*)[\w.\[\]-]*: ")


class ErrorBody(BaseModel):
    """What is wrong."""

    message: str = Field(description="what is wrong and what to change", examples=["there is no domain 'cty'"])
    type: str = Field(description="invalid_request_error, requests (over a rate) or server_error")
    param: str | None = Field(description="the field that is wrong, if it is one", examples=["model"])
    code: str = Field(description="stable, for programs", examples=["model_not_found"])


class ErrorAnswer(BaseModel):
    """An error, as OpenAI's API has it."""

    error: ErrorBody


def error_response(status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer for an error.

    ``x-should-retry`` tells clients what is worth another try, since they would repeat every 409 and 5xx: what has a
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
