import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Message, Scope

from service.errors import Overloaded
from service.http.bounds import within
from service.http.deadlines import Deadline
from service.http.streaming import Event, EventStream, accepts_events

DONE = Event("all of it", "caption")

Events = AsyncGenerator[Event, None]


def due_in(seconds: float) -> Deadline:
    return Deadline(time.monotonic() + seconds, seconds, "DRCAP_TIMEOUTS__CAPTION_SECONDS")


def progress(data: str) -> Event:
    return Event(data, "progress")


@dataclass
class Client:
    """The other end of a stream."""

    received: bytes = b""
    ended: bool = False
    left: asyncio.Event = field(default_factory=asyncio.Event)
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    scope: Scope = field(default_factory=lambda: {"type": "http", "method": "POST", "path": "/caption", "headers": []})

    def __post_init__(self) -> None:
        self.reads.set()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            return
        await self.reads.wait()
        async with self.news:
            self.received += message["body"]
            self.ended = not message["more_body"]
            self.news.notify_all()

    @property
    def events(self) -> list[str]:
        return [one for one in self.received.decode().split("\n\n") if one]

    async def until(self, text: str) -> None:
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: text in self.received.decode())


def stream(
    events: Events, seconds: float = 10.0, held: ExitStack | None = None, keep_alive: float = 10.0
) -> EventStream:
    return EventStream(events, due_in(seconds), held or ExitStack(), keep_alive_seconds=keep_alive)


async def heard(events: Events, **options: Any) -> Client:
    client = Client()
    async with asyncio.timeout(10):
        await stream(events, **options)(client.scope, client.receive, client.send)
    return client


@asynccontextmanager
async def under_way(answer: EventStream, client: Client) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(answer(client.scope, client.receive, client.send))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_progress_comes_as_it_is_made_and_the_answer_last() -> None:
    gate, client = asyncio.Event(), Client()

    async def work() -> Events:
        yield progress("0.25 ")
        await gate.wait()
        yield progress("0.5 rain")
        yield DONE

    async with under_way(stream(work()), client) as task:
        await client.until("0.25")
        assert client.events == ["event: progress\ndata: 0.25 "]
        gate.set()
        await task
    assert client.events[1:] == ["event: progress\ndata: 0.5 rain", "event: caption\ndata: all of it"]
    assert client.ended


async def test_a_reader_gets_back_every_line_of_the_data() -> None:
    assert Event("1\nrain\r\n\nsnow\n", "caption").encode() == (
        b"event: caption\ndata: 1\ndata: rain\ndata: \ndata: snow\ndata: \n\n"
    )
    assert Event("[DONE]").encode() == b"data: [DONE]\n\n"


async def test_an_error_is_the_last_event_as_a_problem_document() -> None:
    async def work() -> Events:
        yield progress("0.5 ")
        raise Overloaded("too much (DRCAP_ADMISSION__CAPTIONS)")

    client = await heard(work())
    kind, _, data = client.events[-1].partition("\ndata: ")
    problem = json.loads(data)
    assert kind == "event: error"
    assert (problem["status"], problem["type"]) == (503, "urn:drcap:problem:overloaded")
    assert "DRCAP_ADMISSION__CAPTIONS" in problem["detail"]
    assert client.ended


async def test_an_error_nobody_foresaw_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> Events:
        yield progress("0.5")
        raise RuntimeError("secret path")

    client = await heard(work())
    assert '"status":500' in client.events[-1]
    assert "secret" not in client.received.decode()
    assert "secret path" in caplog.text


async def test_the_deadline_ends_the_work_and_names_its_setting() -> None:
    cancelled, due = asyncio.Event(), due_in(0.02)

    async def bounded() -> None:
        async with within(due):
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    async def work() -> Events:
        await bounded()
        yield DONE

    client = await heard(work(), seconds=0.02)
    assert cancelled.is_set()
    assert "DRCAP_TIMEOUTS__CAPTION_SECONDS" in client.events[-1]
    assert client.events[-1].startswith("event: error")


async def test_a_client_that_stops_reading_is_let_go_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.streaming._LAST_EVENT_SECONDS", 0.02)
    client, held = Client(), ExitStack()
    released = asyncio.Event()
    held.callback(released.set)
    client.reads.clear()

    async def work() -> Events:
        yield DONE

    with pytest.raises(TimeoutError):
        await stream(work(), 0.02, held)(client.scope, client.receive, client.send)
    assert released.is_set()


async def test_when_the_client_leaves_the_work_is_cancelled_and_the_permit_given_back() -> None:
    client, held = Client(), ExitStack()
    order: list[str] = []
    held.callback(order.append, "released")

    async def work() -> Events:
        yield progress("0.5 ")
        try:
            await asyncio.sleep(60)
        finally:
            order.append("cancelled")
        yield DONE

    async with under_way(stream(work(), held=held), client) as task:
        await client.until("0.5")
        assert order == []
        client.left.set()
        await task
    assert order == ["cancelled", "released"]
    assert client.scope["state"]["problem"] == "client-gone"


async def test_the_permit_is_held_until_the_last_event_is_sent() -> None:
    client, held = Client(), ExitStack()
    released = asyncio.Event()
    held.callback(released.set)
    client.reads.clear()

    async def work() -> Events:
        yield DONE

    async with under_way(stream(work(), held=held), client) as task:
        for _ in range(20):
            await asyncio.sleep(0)
        assert not released.is_set()
        client.reads.set()
        await task
    assert released.is_set()


async def test_silence_is_filled_with_comments() -> None:
    gate, client = asyncio.Event(), Client()

    async def work() -> Events:
        await gate.wait()
        yield DONE

    async with under_way(stream(work(), keep_alive=0.005), client) as task:
        await client.until(": still working\n\n: still working\n\n")
        gate.set()
        await task
    assert client.events[-1] == "event: caption\ndata: all of it"


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("text/event-stream", True),
        ("application/json;q=0.5, Text/Event-Stream; q=0.9", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0.0, */*", False),
        ("*/*", False),
        ("text/*", False),
        ("", False),
    ],
)
def test_a_stream_is_asked_for_by_its_media_type(accept: str, asked: bool) -> None:
    assert accepts_events(accept) is asked
