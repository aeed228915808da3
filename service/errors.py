"""Errors that clients see, with one class for each kind. This module imports nothing from the project."""

from collections.abc import Mapping
from typing import ClassVar


class ServiceError(Exception):
    """An error with the status, type and headers of its answer. `str(error)` is the detail."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})


class BadField(ServiceError):
    """A field of the request is invalid. The detail names the field first, as ``field: what is wrong``."""

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


class UploadTooSlow(ServiceError):
    status = 408
    slug = "upload-too-slow"


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
