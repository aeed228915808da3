"""Error answers: the handler for all errors, the translation of errors raised below HTTP, and problem documents.

Problem documents follow RFC 9457: ``application/problem+json`` with a stable ``type``.
"""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from datastores.base import (
    DatastoreError,
    DatastoreUnavailable,
    DomainBusy,
    DomainNotFound,
    FingerprintMismatch,
    InvalidDomainName,
)
from datastores.corpus.error import CorpusError
from service import errors
from service.batching.queue import BatcherClosed, Expired, QueueFull
from service.batching.runner import MemoryExhausted
from service.batching.worker import WorkerDied
from service.errors import BadField, ClientGone, Overloaded, ServiceError
from service.http.deadlines import BadTimeout

ErrorShape = Callable[[int, str, str, Mapping[str, str] | None], Response]
"""Writes an error answer from a status, the slug of a problem type, a detail and headers."""

TYPE_PREFIX = "urn:drcap:problem:"
MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = "2"
_TRANSLATIONS: dict[type[Exception], type[ServiceError]] = {
    InvalidDomainName: errors.InvalidDomain,
    DomainNotFound: errors.UnknownDomain,
    DomainBusy: errors.Busy,
    FingerprintMismatch: errors.ClapMismatch,
    DatastoreUnavailable: errors.DatastoreDown,
    BadTimeout: BadField,
    Expired: errors.DeadlinePassed,
    BatcherClosed: errors.NotReady,
    WorkerDied: errors.ModelFailed,
    MemoryExhausted: errors.ModelFailed,
}
_CORPUS_KINDS: dict[str, type[ServiceError]] = {
    "format": errors.NotACorpus,
    "too-many": errors.TooLarge,
    "too-long": errors.TooLarge,
}
_TRANSLATED: tuple[type[Exception], ...] = (DatastoreError, CorpusError, QueueFull, *_TRANSLATIONS)
"""The errors of other packages that `as_service_error` translates."""

logger = logging.getLogger(__name__)


def as_service_error(error: Exception) -> ServiceError:
    """Translate an error raised below HTTP. An unknown error becomes a 500 that reveals no details."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, CorpusError):
        return _CORPUS_KINDS.get(error.kind, errors.BadCorpus)(str(error))
    if isinstance(error, QueueFull):
        return Overloaded(str(error), {"Retry-After": str(error.retry_after)})
    for kind, answer in _TRANSLATIONS.items():
        if isinstance(error, kind):
            headers = {"Retry-After": _RETRY_AFTER_SECONDS} if answer.status == 503 else None
            return answer(str(error), headers)
    return ServiceError("the service failed on this request; its log has the details under the request id")


def problem_response(
    request: Request, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a problem document of RFC 9457, with the request id as an extension member."""
    body = problem_body(status, slug, detail, request.url.path, request_id_of(request))
    return JSONResponse(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_body(status: int, slug: str, detail: str, instance: str, request_id: str) -> dict[str, Any]:
    """Return the members of a problem document."""
    return {
        "type": TYPE_PREFIX + slug,
        "title": _title(status),
        "status": status,
        "detail": detail,
        "instance": instance,
        "request_id": request_id,
    }


def request_id_of(request: Request) -> str:
    """Return the id that `service.http.middleware.RequestContext` has given a request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def _title(status: int) -> str:
    return "Client Closed Request" if status == ClientGone.status else HTTPStatus(status).phrase


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer any error raised during a request. The request state keeps the slug for the metrics."""
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
    for prefix, answer in _shapes(request).items():
        if request.scope["path"].startswith(prefix):
            return answer(status, slug, detail, headers)
    return problem_response(request, status, slug, detail, headers)


def describe_validation(errors: Any) -> str:
    """Return the errors of a pydantic validation in one line, each as ``field: what is wrong``."""
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
        return f"{request.url.path} does not accept {request.method}" + (f"; use {allowed}" if allowed else "")
    return str(error.detail)


def _shapes(request: Request) -> Mapping[str, ErrorShape]:
    app = request.scope.get("app")
    return {} if app is None else getattr(app.state, "error_shapes", {})


def install_error_handler(app: FastAPI, shapes: Mapping[str, ErrorShape] | None = None) -> None:
    """Make the app answer all errors with `answer_error`.

    Args:
        app: the app.
        shapes: writers of error answers by prefix of the path; elsewhere errors are problem documents.
    """
    app.state.error_shapes = dict(shapes or {})
    kinds: list[type[Exception]] = [ServiceError, *_TRANSLATED, RequestValidationError, HTTPException]
    for kind in kinds:
        app.add_exception_handler(kind, answer_error)
