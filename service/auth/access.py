"""Access: the dependencies through which routes get their caller."""

from typing import Annotated

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from service.auth.guard import Caller, Guard
from service.auth.keys import Scope

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
