"""Answers to errors: the one handler, and problem documents.

Problem documents follow RFC 9457: ``application/problem+json`` with a stable ``type``. Clients of OpenAI's API get
their own shape.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from service.errors import TRANSLATED, BadField, ClientGone, ServiceError, as_service_error
from service.openai.errors import OPENAI_PREFIX, error_response

TYPE_PREFIX = "urn:drcap:problem:"
MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


def problem_response(
    request: Request, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem document of RFC 9457, with the request id as an extension member."""
    body = problem_body(status, slug, detail, request.url.path, request_id_of(request))
    return JSONResponse(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_body(status: int, slug: str, detail: str, instance: str, request_id: str) -> dict[str, Any]:
    """The members of a problem document."""
    return {
        "type": TYPE_PREFIX + slug,
        "title": _title(status),
        "status": status,
        "detail": detail,
        "instance": instance,
        "request_id": request_id,
    }


def request_id_of(request: Request) -> str:
    """The id that `service.http.middleware.RequestContext` gave a request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def _title(status: int) -> str:
    return "Client Closed Request" if status == ClientGone.status else HTTPStatus(status).phrase


async def answer_error(request: Request, error: Exception) -> JSONResponse:
    """The one handler of everything that is raised while a request is answered; its slug is left for the metrics."""
    if isinstance(error, RequestValidationError):
        error = BadField(describe_validation(error.errors()))
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
        slug, detail = _title(status).lower().replace(" ", "-"), _route_detail(request, error)
    else:
        known = as_service_error(error)
        status, slug, detail, headers = known.status, known.slug, known.detail, known.headers
        if status == 500:
            logger.error("request %s failed", request_id_of(request), exc_info=error)
    request.scope.setdefault("state", {})["problem"] = slug
    if request.scope["path"].startswith(OPENAI_PREFIX):
        return error_response(status, slug, detail, headers)
    return problem_response(request, status, slug, detail, headers)


def describe_validation(errors: Any) -> str:
    """The errors of a pydantic validation as ``field: what is wrong``, one after the other."""
    parts = []
    for item in errors:
        where = [str(part) for part in item["loc"] if part not in ("query", "body", "path", "form")]
        message = "is not a known field" if item["type"] == "extra_forbidden" else item["msg"]
        parts.append(f"{'.'.join(where) or 'request'}: {message}")
    return "; ".join(parts)


def _route_detail(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; /docs lists the routes"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return f"{request.method} is not for {request.url.path}" + (f"; use {allowed}" if allowed else "")
    return str(error.detail)


def install_error_handler(app: FastAPI) -> None:
    """Let `answer_error` answer everything the app raises."""
    kinds: list[type[Exception]] = [ServiceError, *TRANSLATED, RequestValidationError, HTTPException]
    for kind in kinds:
        app.add_exception_handler(kind, answer_error)
