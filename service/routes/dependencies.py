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
    400: "A field, parameter or name is wrong; the detail names it.",
    401: "There is no key, or it is none of this service.",
    403: "The key lacks the scope, or is not for the domain.",
    404: "There is no such domain or job.",
    408: "The body arrives too slowly; the detail names the setting.",
    409: "The domain is busy or was embedded by another CLAP, or the job is over.",
    413: "The body or the recording is over a limit; the detail names its setting.",
    415: "The body is not of a kind that can be read.",
    422: "The recording is damaged, cut short, empty or silent.",
    429: "The key has asked more often than its rate; Retry-After says when to come back.",
    503: "Not ready, or too much is under way; Retry-After says when to come back.",
    504: "The deadline has passed.",
}


def get_runtime(request: Request) -> Runtime:
    """Return the runtime that the lifespan built."""
    runtime: Runtime = request.state.runtime
    return runtime


AppRuntime = Annotated[Runtime, Depends(get_runtime)]


_BEARER = HTTPBearer(auto_error=False, description="a key of the service")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="the same, for clients that send no bearer")


class Access:
    """A dependency: the caller, once it is clear that they may use the route, and its domain if it names one.

    It reads headers only, so nobody's body is taken in before.
    """

    def __init__(self, *scopes: Scope, counted: bool = True) -> None:
        """
        Args:
            scopes: one of them is needed.
            counted: whether the request counts for the key's rate.
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
# Following a job is not counted: a rate must not break the registration that it let in.
following = Access(Scope.admin, counted=False)


def deadline(request: Request, kind: str) -> Deadline:
    """When the answer to a request that starts now is due: as the client asks, and the setting ``kind_seconds`` allows.

    Raises `BadTimeout`.
    """
    timeouts = get_runtime(request).settings.timeouts
    setting = f"{kind}_seconds"
    return deadline_of(request.headers.get(HEADER), getattr(timeouts, setting), variable_name("timeouts", setting))


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its documentation."""
    return {
        status: {
            "description": _MEANINGS[status],
            "model": Problem,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


GUARDED = problems(401, 403, 429)
"""The error answers of every route that needs a key where the service has keys."""
