"""What every request passes, as pure ASGI: its id, its account in log and metrics, its safety in a browser, and the
limits on its body."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.trace import INVALID_SPAN, Span
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, clear_contextvars

from service.errors import TooLarge, UploadTooSlow
from service.http.problems import answer_error
from service.monitoring.metrics import Metrics
from service.monitoring.tracing import Tracing, answered, trace_id

REQUEST_ID = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFE_HEADERS = {
    # Answers are data: nothing in them is to be run, framed or kept by a proxy.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

logger = logging.getLogger(__name__)


class RequestContext:
    """Gives each request an id (the client's own when usable), times, counts and logs it, answers what nobody caught.

    The id is in the answer, in every line logged meanwhile and, with whatever else is known of the request, in
    the one line that is logged of it at the end.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get(REQUEST_ID, "")
        if not _USABLE_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        account = _Account(scope, receive, send, time.monotonic())
        # On a connection that is kept, a request may begin in the context of the one before.
        clear_contextvars()
        with self._traced(account), bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, account.receive, account.send)
            except Exception as error:
                if account.status:  # too late for another answer: let the server cut the connection
                    raise
                answer = await answer_error(Request(scope), error)
                await answer(scope, account.receive, account.send)
            finally:
                self._settle(account)

    @contextmanager
    def _traced(self, account: "_Account") -> Iterator[None]:
        """The span of a request, with its trace in every line logged meanwhile; probes have none."""
        if self._tracing is None or account.scope["path"] in _PROBES:
            yield
            return
        with self._tracing.request(Headers(scope=account.scope)) as span:
            account.span = span
            with bound_contextvars(trace_id=trace_id(span)):
                yield

    def _settle(self, account: "_Account") -> None:
        state, status = account.scope["state"], account.status or 500
        method = account.scope["method"] if account.scope["method"] in _METHODS else "other"
        route = getattr(account.scope.get("route"), "path", "unmatched")
        self._metrics.count_request(method, route, status)
        if "problem" in state and route not in _PROBES:
            self._metrics.count_problem(status, state["problem"])
        notes = {name: state[name] for name in ("request_id", "key", "problem") if name in state}
        answered(account.span, method, route, status, notes)
        logger.info(
            "request",
            extra={
                "method": method,
                "route": route,
                "status": status,
                "seconds": round(time.monotonic() - account.started, 4),
                "bytes_in": account.bytes_in,
                "bytes_out": account.bytes_out,
                "key": state.get("key"),
            },
        )


def server_timing(seconds: Mapping[str, float]) -> str:
    """Return the Server-Timing header of stages: their milliseconds."""
    return ", ".join(f"{stage};dur={value * 1000:.1f}" for stage, value in seconds.items())


@dataclass
class _Account:
    """One request as it goes by: what was read of it, and what was answered."""

    scope: Scope
    receiver: Receive
    sender: Send
    started: float
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    span: Span = INVALID_SPAN

    async def receive(self) -> Message:
        message = await self.receiver()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.scope["state"]["request_id"]
            # An answer that tells its stages has a total of its own.
            headers.setdefault("Server-Timing", server_timing({"total": time.monotonic() - self.started}))
        self.bytes_out += len(message.get("body", b""))
        await self.sender(message)


class SafeHeaders:
    """Headers that keep browsers from guessing, framing and telling; a page that sets its own keeps them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)


@dataclass(frozen=True)
class BodyRule:
    """Bodies sent to paths that start with `prefix` may have `max_bytes`, which `setting` says."""

    prefix: str
    max_bytes: int
    setting: str


@dataclass(frozen=True)
class BodyPace:
    """A body may be waited for `seconds`, and a second more for each `rate` bytes of it, which `setting` says."""

    seconds: float
    rate: int
    setting: str


class BodyLimit:
    """Refuses a body over its limit, by its stated length before it is read, else as its bytes arrive; and one that
    arrives so slowly that it would hold what the request was given for its own sake."""

    def __init__(self, app: ASGIApp, rules: Sequence[BodyRule], pace: BodyPace) -> None:
        self._app = app
        self._rules = rules
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rule = next((r for r in self._rules if scope.get("path", "").startswith(r.prefix)), None)
        if scope["type"] != "http" or rule is None:
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "")
        if stated.isascii() and stated.isdigit() and int(stated) > rule.max_bytes:
            answer = await answer_error(Request(scope), _too_large(rule, stated))
            await answer(scope, receive, send)
            return
        await self._app(scope, _Body(receive, rule, self._pace).receive, send)


class _Body:
    """A body as it arrives."""

    def __init__(self, receiver: Receive, rule: BodyRule, pace: BodyPace) -> None:
        self._receiver = receiver
        self._rule = rule
        self._pace = pace
        self._arrived = 0
        self._waited = 0.0
        self._whole = False

    async def receive(self) -> Message:
        """Raises `TooLarge` and `UploadTooSlow`."""
        if self._whole:  # what comes now is that the client leaves
            return await self._receiver()
        # Counted is the time that is spent waiting for the client, not what the service does in between.
        began = time.monotonic()
        left = self._pace.seconds + self._arrived / self._pace.rate - self._waited
        try:
            async with asyncio.timeout(left) as waiting:
                message = await self._receiver()
        except TimeoutError:
            if not waiting.expired():
                raise
            raise _too_slow(self._pace, self._arrived) from None
        self._waited += time.monotonic() - began
        self._arrived += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._arrived > self._rule.max_bytes:
            raise _too_large(self._rule, "more")
        return message


def _too_large(rule: BodyRule, stated: str) -> TooLarge:
    # The rest of the body is never read, so the connection cannot carry another request.
    return TooLarge(
        f"the body has {stated} bytes than the {rule.max_bytes} allowed ({rule.setting})"
        if stated == "more"
        else f"the body has {stated} bytes; {rule.max_bytes} are allowed ({rule.setting})",
        {"Connection": "close"},
    )


def _too_slow(pace: BodyPace, arrived: int) -> UploadTooSlow:
    return UploadTooSlow(
        f"only {arrived} bytes of the body have come; after {pace.seconds:g} s at least {pace.rate} bytes a second"
        f" are needed ({pace.setting})",
        {"Connection": "close"},
    )
