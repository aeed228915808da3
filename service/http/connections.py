"""Bounds the number of client connections, and the time in which a client sends a request and takes its answer.

uvicorn bounds the size of a request's head but not its time, and waits without end for a client that does not read.
"""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.settings import ServerSettings

_NO_HTTP = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n"


CLIENT_SECONDS = 15.0
"""Seconds for a client to send the head of a request or to take more of an answer: enough for a slow line, too few for
silent clients to fill `DRCAP_SERVER__CONNECTIONS` for long."""

UPLOAD_RATE = 500
"""Bytes a second at which a client sends a body or takes an answer, after its first `CLIENT_SECONDS`. A slower client
would hold a place that others wait for."""


class BoundedConnection(H11Protocol):
    """One connection of a client, of at most `most` that are open.

    While no request is running, the head of the next one must be complete within `CLIENT_SECONDS` of its first byte,
    even if these bytes are the rest of a body that was answered early. An answer that is taken at less than
    `UPLOAD_RATE` is given up.
    """

    most: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since = self.loop.time()
        self._untaken = 0

    @property
    def idle(self) -> bool:
        """Return whether no request is running."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most and not self._made_room():
            self._end(_TOO_MANY)
        else:
            self._within(self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        # uvicorn leaves the timer of a connection that was reset, whose socket is closed when it fires.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            self._be_taken()
        elif self.idle and self._timer is None:
            self._within(self._head_is_late)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.flow.write_paused:
            self._in_time()

    def send_400_response(self, _: str) -> None:
        """Refuse bytes that are not HTTP. A running request ends, and a begun answer gets no second one."""
        if not self.idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._end(_NO_HTTP if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) else b"")

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._be_taken()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._be_taken()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._be_taken()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._in_time()
        if self.transport.is_closing():
            self._be_taken()

    def _within(self, otherwise: Callable[[], None]) -> None:
        self._in_time()
        self._timer = self.loop.call_later(CLIENT_SECONDS, otherwise)

    def _be_taken(self) -> None:
        """Close the connection unless the client takes the rest of the answer at `UPLOAD_RATE`."""
        self._untaken = self._unsent()
        self._within(self._is_taken)

    def _is_taken(self) -> None:
        if self._unsent() > self._untaken - UPLOAD_RATE * CLIENT_SECONDS:
            self.transport.abort()
        else:
            self._be_taken()

    def _unsent(self) -> int:
        """Return bytes that the client has not taken: ours, and those of the system, which may hold megabytes."""
        unsent = self.transport.get_write_buffer_size()
        with suppress(OSError):
            connected = self.transport.get_extra_info("socket")
            unsent += int.from_bytes(fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return unsent

    def _in_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        # After an answer, another one would look like the answer to the next request.
        self._end(_TOO_LATE if self.cycle is None else b"")

    def _end(self, last_words: bytes) -> None:
        self.transport.write(last_words)
        self.transport.close()
        self._be_taken()

    def _made_room(self) -> bool:
        """Close the connection that is idle for longest. Return False if none is idle."""
        others = (one for one in self.connections if isinstance(one, BoundedConnection) and one is not self)
        idle = [one for one in others if one.idle and not one.transport.is_closing()]
        if not idle:
            return False
        min(idle, key=lambda one: one._idle_since).transport.abort()
        return True


def server_config(app: ASGIApp, settings: ServerSettings, **options: Any) -> uvicorn.Config:
    """Return the configuration with which uvicorn serves an app on bounded connections. `options` are uvicorn's."""
    bounded = type("ServedConnection", (BoundedConnection,), {"most": settings.connections})
    return uvicorn.Config(_yielding(app), http=bounded, ws="none", **options)


def _yielding(app: ASGIApp) -> ASGIApp:
    """Let the event loop run after each part of an answer, so that a lost connection is noticed before the next part.

    asyncio logs a warning for every write after the fourth to a connection that was reset.
    """

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_part(message: Message) -> None:
            await send(message)
            if message.get("more_body"):
                await asyncio.sleep(0)

        await app(scope, receive, send_part)

    return served
