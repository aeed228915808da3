"""Errors a client sees: one class a kind, one table for the errors of others, one handler.

Answers follow RFC 9457: ``application/problem+json`` with a stable ``type``.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from datastores.base import (
    DatastoreError,
    DatastoreUnavailable,
    DomainBusy,
    DomainNotFound,
    FingerprintMismatch,
    InvalidDomainName,
)
from datastores.corpus.reader import CorpusError
from service.batching.batcher import BatcherClosed, Expired, QueueFull, WorkerDied
from service.deadlines import BadTimeout

TYPE_PREFIX = "urn:drcap:problem:"
MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = "2"

logger = logging.getLogger(__name__)


class ServiceError(Exception):
    """An error with the status, type and headers of its answer; `str(error)` is the detail."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})


class BadField(ServiceError):
    status = 400
    slug = "bad-field"


class InvalidDomain(ServiceError):
    status = 400
    slug = "invalid-domain-name"


class BadCorpus(ServiceError):
    status = 400
    slug = "bad-corpus"


class NotAuthenticated(ServiceError):
    status = 401
    slug = "not-authenticated"


class Forbidden(ServiceError):
    status = 403
    slug = "forbidden"


class UnknownDomain(ServiceError):
    status = 404
    slug = "unknown-domain"


class UnknownJob(ServiceError):
    status = 404
    slug = "unknown-job"


class Busy(ServiceError):
    status = 409
    slug = "domain-busy"


class JobFinished(ServiceError):
    status = 409
    slug = "job-finished"


class JobCancelled(ServiceError):
    status = 409
    slug = "job-cancelled"


class ClapMismatch(ServiceError):
    status = 409
    slug = "fingerprint-mismatch"


class TooLarge(ServiceError):
    status = 413
    slug = "too-large"


class NotAudio(ServiceError):
    status = 415
    slug = "not-audio"


class NotACorpus(ServiceError):
    status = 415
    slug = "not-a-corpus"


class UnreadableAudio(ServiceError):
    status = 422
    slug = "unreadable-audio"


class EmptyAudio(ServiceError):
    status = 422
    slug = "empty-audio"


class ClientGone(ServiceError):
    status = 499
    slug = "client-gone"


class Overloaded(ServiceError):
    status = 503
    slug = "overloaded"


class NotReady(ServiceError):
    status = 503
    slug = "not-ready"


class DatastoreDown(ServiceError):
    status = 503
    slug = "datastore-unavailable"


class RateExceeded(ServiceError):
    status = 429
    slug = "rate-exceeded"


class JobsFolderFailed(ServiceError):
    status = 503
    slug = "jobs-folder-unavailable"


class JobInterrupted(ServiceError):
    status = 503
    slug = "job-interrupted"


class ModelFailed(ServiceError):
    status = 503
    slug = "model-failed"


class DeadlinePassed(ServiceError):
    status = 504
    slug = "deadline-passed"


_TRANSLATIONS: dict[type[Exception], type[ServiceError]] = {
    InvalidDomainName: InvalidDomain,
    DomainNotFound: UnknownDomain,
    DomainBusy: Busy,
    FingerprintMismatch: ClapMismatch,
    DatastoreUnavailable: DatastoreDown,
    BadTimeout: BadField,
    Expired: DeadlinePassed,
    BatcherClosed: NotReady,
    WorkerDied: ModelFailed,
}
_CORPUS_KINDS: dict[str, type[ServiceError]] = {
    "format": NotACorpus,
    "too-many": TooLarge,
    "too-long": TooLarge,
}


def as_service_error(error: Exception) -> ServiceError:
    """The answer for an error raised below the HTTP face; unknown ones become a 500 that tells nothing."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, CorpusError):
        return _CORPUS_KINDS.get(error.kind, BadCorpus)(str(error))
    if isinstance(error, QueueFull):
        return Overloaded(str(error), {"Retry-After": str(error.retry_after)})
    for kind, answer in _TRANSLATIONS.items():
        if isinstance(error, kind):
            headers = {"Retry-After": _RETRY_AFTER_SECONDS} if answer.status == 503 else None
            return answer(str(error), headers)
    return ServiceError("the service failed at this request; its log says more under the request id")


def problem_response(
    request: Request, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem document of RFC 9457, with the request id as an extension member; its slug is left for the metrics."""
    request.scope.setdefault("state", {})["problem"] = slug
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
    """The id that `service.middleware.RequestContext` gave a request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def _title(status: int) -> str:
    return "Client Closed Request" if status == ClientGone.status else HTTPStatus(status).phrase


async def answer_error(request: Request, error: Exception) -> JSONResponse:
    """The one handler of everything that is raised while a request is answered."""
    if isinstance(error, RequestValidationError):
        return problem_response(request, 400, BadField.slug, describe_validation(error.errors()))
    if isinstance(error, HTTPException):
        slug = _title(error.status_code).lower().replace(" ", "-")
        detail = _route_detail(request, error)
        return problem_response(request, error.status_code, slug, detail, error.headers)
    known = as_service_error(error)
    if known.status == 500:
        logger.error("request %s failed", request_id_of(request), exc_info=error)
    return problem_response(request, known.status, known.slug, known.detail, known.headers)


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
    kinds: list[type[Exception]] = [ServiceError, DatastoreError, CorpusError, QueueFull, *_TRANSLATIONS]
    for kind in (*kinds, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer_error)
