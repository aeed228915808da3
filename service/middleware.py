"""What every request passes, as pure ASGI: its id, its account in the metrics, and the limit on its body."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooLarge, answer_error
from service.metrics import Metrics

REQUEST_ID = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestContext:
    """Gives each request an id (the client's own when usable), counts it, answers what nobody caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get(REQUEST_ID, "")
        if not _USABLE_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if status:  # too late for another answer: let the server cut the connection
                raise
            answer = await answer_error(Request(scope), error)
            await answer(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count_request(method, route, status or 500)


@dataclass(frozen=True)
class BodyRule:
    """Bodies sent to paths that start with `prefix` may have `max_bytes`, which `setting` says."""

    prefix: str
    max_bytes: int
    setting: str


class BodyLimit:
    """Refuses a body over its limit: by its stated length before it is read, else as its bytes arrive."""

    def __init__(self, app: ASGIApp, rules: Sequence[BodyRule]) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rule = next((r for r in self._rules if scope.get("path", "").startswith(r.prefix)), None)
        if scope["type"] != "http" or rule is None:
            await self._app(scope, receive, send)
            return
        arrived = 0

        async def receive_counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > rule.max_bytes:
                raise _too_large(rule, "more")
            return message

        stated = Headers(scope=scope).get("content-length", "")
        if stated.isascii() and stated.isdigit() and int(stated) > rule.max_bytes:
            answer = await answer_error(Request(scope), _too_large(rule, stated))
            await answer(scope, receive, send)
            return
        await self._app(scope, receive_counted, send)


def _too_large(rule: BodyRule, stated: str) -> TooLarge:
    # The rest of the body is never read, so the connection cannot carry another request.
    return TooLarge(
        f"the body has {stated} bytes than the {rule.max_bytes} allowed ({rule.setting})"
        if stated == "more"
        else f"the body has {stated} bytes; {rule.max_bytes} are allowed ({rule.setting})",
        {"Connection": "close"},
    )
