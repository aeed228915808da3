"""Middleware in pure ASGI: the request id, logs and metrics, security headers, and the limits of the body."""

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
    # Answers are data: browsers must not run or frame them, and proxies must not keep them.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

logger = logging.getLogger(__name__)


class RequestContext:
    """Gives each request an id, counts, times and logs it, and answers errors that nothing else has caught.

    The id is the client's own if it is usable. The answer carries it, and so does each line that is logged during the
    request. One line at the end logs the id with all other facts about the request.
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
        exchange = _Exchange(scope, receive, send, time.monotonic())
        # On a kept-alive connection, a request may start in the context of the previous one.
        clear_contextvars()
        with self._traced(exchange), bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as error:
                if exchange.status:  # too late for another answer: let the server cut the connection
                    raise
                answer = await answer_error(Request(scope), error)
                await answer(scope, exchange.receive, exchange.send)
            finally:
                self._settle(exchange)

    @contextmanager
    def _traced(self, exchange: "_Exchange") -> Iterator[None]:
        """Trace the request in the block, and put the trace id in its log lines. Probes are not traced."""
        if self._tracing is None or exchange.scope["path"] in _PROBES:
            yield
            return
        with self._tracing.request(Headers(scope=exchange.scope)) as span:
            exchange.span = span
            with bound_contextvars(trace_id=trace_id(span)):
                yield

    def _settle(self, exchange: "_Exchange") -> None:
        state, status = exchange.scope["state"], exchange.status or 500
        method = exchange.scope["method"] if exchange.scope["method"] in _METHODS else "other"
        route = getattr(exchange.scope.get("route"), "path", "unmatched")
        self._metrics.count_request(method, route, status)
        if "problem" in state and route not in _PROBES:
            self._metrics.count_problem(status, state["problem"])
        notes = {name: state[name] for name in ("request_id", "key", "problem") if name in state}
        answered(exchange.span, method, route, status, notes)
        logger.info(
            "request",
            extra={
                "method": method,
                "route": route,
                "status": status,
                "seconds": round(time.monotonic() - exchange.started, 4),
                "bytes_in": exchange.bytes_in,
                "bytes_out": exchange.bytes_out,
                "key": state.get("key"),
            },
        )


def server_timing(seconds: Mapping[str, float]) -> str:
    """Return the value of the Server-Timing header: the milliseconds of each stage."""
    return ", ".join(f"{stage};dur={value * 1000:.1f}" for stage, value in seconds.items())


@dataclass
class _Exchange:
    """One request and its answer, with counts of the bytes in and out."""

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
            # An answer with its own stages has its own total.
            headers.setdefault("Server-Timing", server_timing({"total": time.monotonic() - self.started}))
        self.bytes_out += len(message.get("body", b""))
        await self.sender(message)


class SafeHeaders:
    """Adds security headers to each answer. A page that sets one of them itself keeps its own."""

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
    """The limit of bodies for paths that start with `prefix`: `max_bytes`; `setting` names it."""

    prefix: str
    max_bytes: int
    setting: str


@dataclass(frozen=True)
class BodyPace:
    """The pace of a body: it may take `seconds`, and a second more for each `rate` bytes of it."""

    seconds: float
    rate: int


class BodyLimit:
    """Refuses bodies that are too large or too slow.

    A stated length is checked before the body is read, and the bytes are counted as they arrive. A slow body is refused
    because it would hold the permit of the request.
    """

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
        await self._app(scope, _LimitedBody(receive, rule, self._pace).receive, send)


class _LimitedBody:
    """A body that is checked while it arrives."""

    def __init__(self, receiver: Receive, rule: BodyRule, pace: BodyPace) -> None:
        self._receiver = receiver
        self._rule = rule
        self._pace = pace
        self._arrived = 0
        self._waited = 0.0
        self._whole = False

    async def receive(self) -> Message:
        """Raises `TooLarge` and `UploadTooSlow`."""
        if self._whole:  # the next message says that the client has left
            return await self._receiver()
        # Only the time spent waiting for the client counts, not the work of the service in between.
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
            raise _too_large(self._rule, f"more than {self._rule.max_bytes}")
        return message


def _too_large(rule: BodyRule, size: str) -> TooLarge:
    # The rest of the body is never read, so the connection cannot carry another request.
    return TooLarge(
        f"the body has {size} bytes; {rule.max_bytes} are allowed ({rule.setting})", {"Connection": "close"}
    )


def _too_slow(pace: BodyPace, arrived: int) -> UploadTooSlow:
    return UploadTooSlow(
        f"only {arrived} bytes of the body have arrived; after {pace.seconds:g} s it must arrive at"
        f" {pace.rate} bytes a second or more",
        {"Connection": "close"},
    )
