"""Dependencies of the routes: the runtime, the caller, the deadline, and the documentation of errors."""

from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from service.auth.guard import Caller, Guard
from service.auth.keys import Scope
from service.http.deadlines import HEADER, Deadline, deadline_of
from service.http.problems import MEDIA_TYPE
from service.runtime import Runtime
from service.schemas import Problem
from service.settings import variable_name

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


def get_runtime(request: Request) -> Runtime:
    """Return the runtime that the lifespan of the app has built."""
    runtime: Runtime = request.state.runtime
    return runtime


AppRuntime = Annotated[Runtime, Depends(get_runtime)]


_BEARER = HTTPBearer(auto_error=False, description="A key of the service.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="A key, for clients that send no bearer.")


class Access:
    """A dependency that returns the caller if they may use the route, and the domain in its path if it has one.

    It reads only headers, so the body of a refused request is never read.
    """

    def __init__(self, *scopes: Scope, counted: bool = True) -> None:
        """
        Args:
            scopes: the key must have one of these.
            counted: whether the request counts towards the rate of the key.
        """
        self._scopes = frozenset(scopes)
        self._counted = counted

    async def __call__(
        self,
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> Caller:
        """Raises `NotAuthenticated`, `Forbidden` or `RateExceeded`."""
        guard: Guard = request.state.guard
        caller = guard.identify(bearer.credentials if bearer else header)
        if caller.key is not None:
            request.state.key = caller.key.name
        guard.check_scope(caller, self._scopes)
        if "name" in request.path_params:
            caller.check_reaches(request.path_params["name"])
        if self._counted:
            guard.take(caller)
        return caller


captioning = Access(Scope.caption)
reading = Access(Scope.caption, Scope.admin)
changing = Access(Scope.admin)
# Requests that follow a job are not counted: a rate must not break a registration that it has admitted.
following = Access(Scope.admin, counted=False)


def deadline(request: Request, kind: str) -> Deadline:
    """Return the deadline of a request that starts now, as the client asks and the setting ``kind_seconds`` limits.

    Raises `BadTimeout`.
    """
    timeouts = get_runtime(request).settings.timeouts
    setting = f"{kind}_seconds"
    return deadline_of(request.headers.get(HEADER), getattr(timeouts, setting), variable_name("timeouts", setting))


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
