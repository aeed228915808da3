import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Message, Scope

from service.captioning.progress import Progress, Report, Stage
from service.captioning.segments import Segment
from service.errors import Overloaded
from service.http.deadlines import Deadline
from service.http.streaming import Event, EventStream, Work, accepts_events

DONE = [Event("all of it", "caption")]


def due_in(seconds: float) -> Deadline:
    return Deadline(time.monotonic() + seconds, seconds, "DRCAP_TIMEOUTS__CAPTION_SECONDS")


def show(progress: Progress) -> list[Event]:
    return [Event(f"{progress.done} {' '.join(one.caption for one in progress.segments)}", "progress")]


def segment(caption: str) -> Segment:
    return Segment(0.0, 1.0, caption)


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


def stream(work: Work, seconds: float = 10.0, held: ExitStack | None = None, keep_alive: float = 10.0) -> EventStream:
    return EventStream(work, show, due_in(seconds), held or ExitStack(), keep_alive_seconds=keep_alive)


async def heard(work: Work, **options: Any) -> Client:
    client = Client()
    async with asyncio.timeout(10):
        await stream(work, **options)(client.scope, client.receive, client.send)
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

    async def work(report: Report) -> Sequence[Event]:
        report(Progress(Stage.embed_audio, 0.25))
        await gate.wait()
        report(Progress(Stage.generate, 0.5, (segment("rain"),)))
        return DONE

    async with under_way(stream(work), client) as task:
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


async def test_reports_that_nobody_reads_are_merged_and_lose_no_segment() -> None:
    client, finished = Client(), asyncio.Event()
    client.reads.clear()

    async def work(report: Report) -> Sequence[Event]:
        for number in range(1000):
            report(Progress(Stage.generate, number / 1000, (segment(f"s{number}"),)))
            await asyncio.sleep(0)
        finished.set()
        return DONE

    async with under_way(stream(work), client) as task:
        await finished.wait()
        client.reads.set()
        await task
    assert len(client.events) <= 3
    told = " ".join(event.partition("data: ")[2] for event in client.events[:-1])
    assert [word for word in told.split() if word.startswith("s")] == [f"s{number}" for number in range(1000)]


async def test_an_error_is_the_last_event_as_a_problem_document() -> None:
    async def work(report: Report) -> Sequence[Event]:
        report(Progress(Stage.generate, 0.5))
        raise Overloaded("too much (DRCAP_ADMISSION__CAPTIONS)")

    client = await heard(work)
    kind, _, data = client.events[-1].partition("\ndata: ")
    problem = json.loads(data)
    assert kind == "event: error"
    assert (problem["status"], problem["type"]) == (503, "urn:drcap:problem:overloaded")
    assert "DRCAP_ADMISSION__CAPTIONS" in problem["detail"]
    assert client.ended


async def test_an_error_nobody_foresaw_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def work(report: Report) -> Sequence[Event]:
        raise RuntimeError("secret path")

    client = await heard(work)
    assert '"status":500' in client.events[-1]
    assert "secret" not in client.received.decode()
    assert "secret path" in caplog.text


async def test_the_deadline_ends_the_work_and_names_its_setting() -> None:
    cancelled = asyncio.Event()

    async def work(report: Report) -> Sequence[Event]:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return DONE

    client = await heard(work, seconds=0.02)
    assert cancelled.is_set()
    assert "DRCAP_TIMEOUTS__CAPTION_SECONDS" in client.events[-1]
    assert client.events[-1].startswith("event: error")


async def test_a_client_that_stops_reading_is_let_go_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.streaming._LAST_EVENT_SECONDS", 0.02)
    client, held = Client(), ExitStack()
    released = asyncio.Event()
    held.callback(released.set)
    client.reads.clear()

    async def work(report: Report) -> Sequence[Event]:
        return DONE

    with pytest.raises(TimeoutError):
        await stream(work, 0.02, held)(client.scope, client.receive, client.send)
    assert released.is_set()


async def test_when_the_client_leaves_the_work_is_cancelled_and_the_permit_given_back() -> None:
    client, held = Client(), ExitStack()
    order: list[str] = []
    held.callback(order.append, "released")

    async def work(report: Report) -> Sequence[Event]:
        report(Progress(Stage.generate, 0.5))
        try:
            await asyncio.sleep(60)
        finally:
            order.append("cancelled")
        return DONE

    async with under_way(stream(work, held=held), client) as task:
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

    async def work(report: Report) -> Sequence[Event]:
        return DONE

    async with under_way(stream(work, held=held), client) as task:
        for _ in range(20):
            await asyncio.sleep(0)
        assert not released.is_set()
        client.reads.set()
        await task
    assert released.is_set()


async def test_silence_is_filled_with_comments() -> None:
    gate, client = asyncio.Event(), Client()

    async def work(report: Report) -> Sequence[Event]:
        await gate.wait()
        return DONE

    async with under_way(stream(work, keep_alive=0.005), client) as task:
        await client.until(": the work goes on\n\n: the work goes on\n\n")
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
