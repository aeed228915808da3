"""Streams: answers of server-sent events.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import ClientGone
from service.http.bounds import while_connected
from service.http.deadlines import Deadline
from service.http.problems import answer_error

MEDIA_TYPE = "text/event-stream"

_KEEP_ALIVE = b": still working\n\n"
# Proxies close connections after half a minute of silence or more; the standard recommends a comment every 15 s.
_KEEP_ALIVE_SECONDS = 15.0
# Seconds after the deadline in which a slow client can read the last event.
_LAST_EVENT_SECONDS = 10.0


@dataclass(frozen=True)
class Event:
    """An event with its data, in one or several lines, and its name. Clients name an unnamed event ``message``."""

    data: str
    name: str | None = None

    def encode(self) -> bytes:
        """Return the bytes of the event. A client reads every line break of the data as ``\\n``."""
        named = [] if self.name is None else [f"event: {self.name}"]
        lines = self.data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "\n".join([*named, *(f"data: {line}" for line in lines), "", ""]).encode()


def accepts_events(accept: str) -> bool:
    """Return whether an Accept header accepts event streams, with a quality above 0."""
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        if media_range == MEDIA_TYPE:
            return not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
    return False


async def problem_event(request: Request, error: Exception) -> Event:
    """Return the event ``error`` with the problem document of the error as data."""
    answer = await answer_error(request, error)
    return Event(bytes(answer.body).decode(), "error")


class EventStream(Response):
    """An answer of server-sent events.

    A slow reader slows the events down. When the client leaves, the events and their work are closed.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        due: Deadline,
        held: ExitStack,
        keep_alive_seconds: float = _KEEP_ALIVE_SECONDS,
    ) -> None:
        """
        Args:
            events: the events. They end at the deadline; an error from them becomes the last event.
            due: the deadline. A client that does not read is disconnected shortly after it.
            held: holds the permit of the request; closed at the end of the stream, also after errors.
            keep_alive_seconds: seconds of silence after which a comment keeps proxies from closing the connection.
        """
        # As in starlette's own streams: without a body there is no content length.
        self.status_code, self.background = 200, None
        # Without this header, proxies buffer the answer and delay the events.
        self.init_headers({"X-Accel-Buffering": "no"})
        self._events = events
        self._due = due
        self._held = held
        self._keep_alive_seconds = keep_alive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with self._held:
            try:
                async with asyncio.timeout(self._due.left() + _LAST_EVENT_SECONDS), while_connected(request):
                    await self._send(request, send)
            except ClientGone as error:
                # The status is already sent, but the metrics still count the problem.
                scope.setdefault("state", {})["problem"] = error.slug
            finally:
                await self._events.aclose()

    async def _send(self, request: Request, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for data in self._encoded():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            last = b""
        except Exception as error:
            last = (await problem_event(request, error)).encode()
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _encoded(self) -> AsyncIterator[bytes]:
        """Yield the events as bytes, and a comment after each silence."""
        while True:
            coming = asyncio.ensure_future(anext(self._events, None))
            try:
                while not (await asyncio.wait({coming}, timeout=self._keep_alive_seconds))[0]:
                    yield _KEEP_ALIVE
                event = await coming
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            if event is None:
                return
            yield event.encode()
