"""Streams: server-sent events of one piece of work while it is under way.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.captioning.progress import Progress, Report
from service.errors import ClientGone
from service.http.deadlines import Deadline
from service.http.problems import answer_error
from service.routes.dependencies import while_connected
from service.runtime import within

MEDIA_TYPE = "text/event-stream"

_KEEP_ALIVE = b": the work goes on\n\n"
# Proxies cut what is silent for half a minute or more; the standard advises a comment every 15 s.
_KEEP_ALIVE_SECONDS = 15.0
# For a client that reads slowly to take the last event, once the deadline has passed.
_LAST_EVENT_SECONDS = 10.0


@dataclass(frozen=True)
class Event:
    """One event: its data, of any number of lines, and its name; a reader calls one without a name ``message``."""

    data: str
    name: str | None = None

    def encode(self) -> bytes:
        """The event as it is sent. Of the data's line breaks a reader sees ``\\n``."""
        named = [] if self.name is None else [f"event: {self.name}"]
        lines = self.data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "\n".join([*named, *(f"data: {line}" for line in lines), "", ""]).encode()


Work = Callable[[Report], Coroutine[Any, Any, Sequence[Event]]]
"""What is done: it is told where to report, and answers the last events."""


def accepts_events(accept: str) -> bool:
    """Whether an Accept header asks for a stream: names its media type, and not with a quality of 0."""
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        if media_range == MEDIA_TYPE:
            return not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
    return False


async def problem_event(request: Request, error: Exception) -> Event:
    """An error as the event ``error``, whose data is the problem document the error would have as an answer."""
    answer = await answer_error(request, error)
    return Event(bytes(answer.body).decode(), "error")


class EventStream(Response):
    """The answer of a route that tells how its work goes on.

    The work runs as a task of its own. While the client reads slowly, reports are merged, so at most one waits. When
    the client leaves, the work is cancelled, and whatever of it waits in a queue is dropped.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        work: Work,
        show: Callable[[Progress], Sequence[Event]],
        due: Deadline,
        held: ExitStack,
        fail: Callable[[Request, Exception], Awaitable[Event]] = problem_event,
        keep_alive_seconds: float = _KEEP_ALIVE_SECONDS,
    ) -> None:
        """
        Args:
            work: is given until `due`; whatever it raises is the last event.
            show: the events of a report.
            due: when the work is given up.
            held: is closed once the stream has ended, however it ended: the permit of the request.
            fail: the event of an error.
            keep_alive_seconds: of silence, after which a comment tells proxies that there is somebody.
        """
        # As starlette's own streams do: without a body there is no length to state.
        self.status_code, self.background = 200, None
        # Proxies that buffer answers would keep the events back.
        self.init_headers({"X-Accel-Buffering": "no"})
        self._work = work
        self._show = show
        self._due = due
        self._held = held
        self._fail = fail
        self._keep_alive_seconds = keep_alive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with self._held:
            try:
                async with asyncio.timeout(self._due.left() + _LAST_EVENT_SECONDS):
                    await while_connected(request, self._stream(request, send))
            except ClientGone as error:
                # Too late for a status of its own; the metrics should know all the same.
                scope.setdefault("state", {})["problem"] = error.slug

    async def _stream(self, request: Request, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def write(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        latest = _Latest()
        task = asyncio.create_task(self._until_due(latest.put))
        task.add_done_callback(lambda _: latest.news.set())
        try:
            while not task.done() or latest.unread:
                if not await latest.changes(self._keep_alive_seconds):
                    await write(_KEEP_ALIVE)
                elif (progress := latest.take()) is not None:
                    await write(b"".join(event.encode() for event in self._show(progress)))
            try:
                last = list(task.result())
            except Exception as error:
                last = [await self._fail(request, error)]
            await write(b"".join(event.encode() for event in last), more=False)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _until_due(self, report: Report) -> Sequence[Event]:
        async with within(self._due):
            return await self._work(report)


class _Latest:
    """The report that nobody has read yet: a later one takes in an earlier one."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._progress: Progress | None = None

    @property
    def unread(self) -> bool:
        return self._progress is not None

    def put(self, progress: Progress) -> None:
        self._progress = progress if self._progress is None else progress.after(self._progress)
        self.news.set()

    def take(self) -> Progress | None:
        progress, self._progress = self._progress, None
        return progress

    async def changes(self, seconds: float) -> bool:
        """Wait so long for news; whether there are any."""
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            return False
        self.news.clear()
        return True
