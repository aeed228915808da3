"""Asking a service that is busy, gone, wrong or slow."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from cli.captioning import requests as asking
from cli.captioning.requests import CaptionClient, Outcome, captioned
from cli.common.errors import CommandError
from cli.common.recordings import RecordingFile

FIELDS = {"response_format": "text", "domain": "city"}
Answer = httpx.Response | Exception
Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
Outcomes = AsyncIterator[Outcome]


def busy(seconds: object = 1, status: int = 503, kind: str = "overloaded") -> httpx.Response:
    document = {"type": f"urn:drcap:problem:{kind}", "detail": "16 requests are under way"}
    return httpx.Response(status, json=document, headers={"Retry-After": str(seconds)})


def heard(text: str = "Rain.\n") -> httpx.Response:
    return httpx.Response(200, text=text)


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("cli.captioning.patience.time.monotonic", clock.monotonic)
    monkeypatch.setattr("cli.captioning.patience.asyncio.sleep", clock.sleep)
    return clock


@pytest.fixture
def recording(tmp_path: Path) -> RecordingFile:
    path = tmp_path / "a.wav"
    path.write_bytes(b"12345")
    return RecordingFile(path)


def answering(answers: Sequence[Answer], seen: list[bytes] | None = None) -> Handler:
    left: Iterator[Answer] = iter(answers)

    async def answer(request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if seen is not None:
            seen.append(body)
        one = next(left)
        if isinstance(one, Exception):
            raise one
        return one

    return answer


@asynccontextmanager
async def asked(recordings: Sequence[RecordingFile], handler: Handler, parallel: int) -> AsyncIterator[Outcomes]:
    transport = httpx.MockTransport(handler)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        aclosing(captioned(recordings, CaptionClient(client, FIELDS), parallel)) as outcomes,
    ):
        yield outcomes


async def ask(recording: RecordingFile, *answers: Answer, seen: list[bytes] | None = None) -> Outcome:
    async with asked([recording], answering(answers, seen), 1) as outcomes:
        (outcome,) = [one async for one in outcomes]
        return outcome


async def test_a_recording_is_the_body_and_the_options_are_the_query(recording: RecordingFile) -> None:
    requests: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        assert await request.aread() == b"12345"
        requests.append(request)
        return heard()

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://service") as client:
        assert await CaptionClient(client, FIELDS).ask(recording) == b"Rain.\n"
    assert dict(requests[0].url.params) == FIELDS
    assert requests[0].headers["content-length"] == "5"


async def test_a_busy_service_is_asked_again_when_it_says(recording: RecordingFile, clock: Clock) -> None:
    seen: list[bytes] = []
    outcome = await ask(recording, busy(3), busy(7, 429), httpx.Response(502), heard(), seen=seen)
    assert outcome.body == b"Rain.\n"
    assert clock.waits == [3, 7, 2]
    assert seen == [b"12345"] * 4


async def test_retry_after_may_be_a_date_or_nonsense_and_is_bounded(recording: RecordingFile, clock: Clock) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    await ask(recording, busy(soon), busy("soon"), busy(0), busy(10_000), heard())
    assert 15 < clock.waits[0] <= 20
    assert clock.waits[1:] == pytest.approx([2, 0.1, 60])


async def test_a_service_that_lets_nothing_in_is_given_up(recording: RecordingFile, clock: Clock) -> None:
    with pytest.raises(CommandError, match="busy: 503: 16 requests are under way; gave up after 600 s"):
        await ask(recording, *[busy(50)] * 100)
    assert sum(clock.waits) <= asking.BUSY_SECONDS


async def test_waiting_begins_anew_when_something_was_answered(clock: Clock, recording: RecordingFile) -> None:
    answers = [*[busy(50)] * 11, heard(), *[busy(50)] * 11, heard()]
    async with asked([recording] * 2, answering(answers), 1) as outcomes:
        assert [one.error async for one in outcomes] == [None, None]


async def test_a_service_is_not_given_up_while_it_works_for_us(recording: RecordingFile, clock: Clock) -> None:
    done = asyncio.Event()
    refused = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal refused
        if request.headers["content-length"] == "1":
            await done.wait()
            return heard()
        refused += 1
        if refused == 40:
            done.set()
        return busy(60) if refused <= 40 else heard()

    async with asked([RecordingFile(Path("long.wav"), data=b"1"), recording], answer, 2) as outcomes:
        assert [one.error async for one in outcomes] == [None, None]
    assert sum(clock.waits) > 3 * asking.BUSY_SECONDS


async def test_a_recording_at_which_the_model_fails_is_tried_three_times(
    recording: RecordingFile, clock: Clock
) -> None:
    seen: list[bytes] = []
    outcome = await ask(recording, *[busy(1, kind="model-failed")] * 5, seen=seen)
    assert str(outcome.error).startswith("503: ")
    assert len(seen) == 3


async def test_a_service_that_was_never_there_ends_it_at_once(recording: RecordingFile, clock: Clock) -> None:
    with pytest.raises(httpx.ConnectError):
        await ask(recording, httpx.ConnectError("refused"), heard())
    assert clock.waits == []


async def test_a_recording_at_which_the_connection_breaks_is_its_own_error(recording: RecordingFile) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadError("")
        return httpx.Response(404)

    async with asked([recording], answer, 1) as outcomes:
        (outcome,) = [one async for one in outcomes]
    assert (
        outcome.error
        == "the service closed the connection while 5 bytes were sent; its DRCAP_AUDIO__MAX_BYTES may allow fewer"
    )


async def test_a_connection_that_breaks_once_is_nothing(recording: RecordingFile) -> None:
    seen: list[bytes] = []
    broken = httpx.RemoteProtocolError("Server disconnected without sending a response.")
    assert (await ask(recording, broken, httpx.Response(200), heard(), seen=seen)).error is None
    assert seen == [b"12345", b"", b"12345"]


async def test_a_service_that_is_started_anew_is_waited_for(recording: RecordingFile, clock: Clock) -> None:
    gone = [httpx.ConnectError("refused")] * 5
    assert (await ask(recording, busy(1), *gone, busy(1), heard())).error is None
    with pytest.raises(CommandError, match="the service is away: refused; gave up after 60 s"):
        await ask(recording, busy(1), *[httpx.ConnectError("refused")] * 100)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 409])
async def test_what_would_be_said_of_every_recording_ends_it(recording: RecordingFile, status: int) -> None:
    with pytest.raises(CommandError, match=f"^{status}: no such domain$"):
        await ask(recording, httpx.Response(status, json={"detail": "no such\n domain"}), heard())


@pytest.mark.parametrize("status", [413, 415, 422, 500, 504])
async def test_what_is_said_of_one_recording_is_its_error(recording: RecordingFile, status: int) -> None:
    outcome = await ask(recording, httpx.Response(status, json={"detail": "not so"}))
    assert outcome.error == f"{status}: not so"


async def test_an_answer_of_something_else_than_drcap_is_seen(recording: RecordingFile) -> None:
    with pytest.raises(CommandError, match="http://service/caption answered text/html instead of text/plain"):
        await ask(recording, httpx.Response(200, html="<p>It works!"))


async def test_a_recording_that_takes_too_long_is_its_own_error(recording: RecordingFile) -> None:
    outcome = await ask(recording, httpx.ReadTimeout("slow"))
    assert outcome.error == "there was no answer within 900 s"


async def test_a_recording_that_cannot_be_read_is_its_own_error(tmp_path: Path) -> None:
    outcome = await ask(RecordingFile(tmp_path / "gone.wav"), heard())
    assert outcome.error == "cannot be read: No such file or directory"
    outcome = await ask(RecordingFile(Path("-"), problem="there is more of it"), heard())
    assert outcome.error == "there is more of it"


async def test_a_recording_that_becomes_shorter_is_its_own_error(
    recording: RecordingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Grown:
        st_size = 9

    monkeypatch.setattr("cli.captioning.requests.os.fstat", lambda _: Grown)
    assert (await ask(recording, heard())).error == "cannot be read: it became shorter during the upload"


async def test_no_more_are_asked_for_at_a_time_than_allowed() -> None:
    under_way = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return heard()

    many = [RecordingFile(Path(f"{number}.wav"), data=b"x") for number in range(20)]
    async with asked(many, answer, 3) as outcomes:
        assert sorted([one.at async for one in outcomes]) == list(range(20))
    assert most == 3


async def test_what_is_known_is_told_before_it_ends() -> None:
    waiting: list[httpx.Request] = []
    all_wait = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        # All three are answered at once, before anybody looks.
        waiting.append(request)
        if len(waiting) == 3:
            asyncio.get_running_loop().call_soon(all_wait.set)
        await all_wait.wait()
        return heard() if request.content == b"good" else httpx.Response(401, json={"detail": "no key"})

    some = [RecordingFile(Path(f"{at}.wav"), data=data) for at, data in enumerate((b"bad", b"good", b"good", b"good"))]
    told: list[int] = []

    async def tell() -> None:
        async with asked(some, answer, 3) as outcomes:
            async for one in outcomes:
                told.append(one.at)  # noqa: PERF401 - it ends in between

    with pytest.raises(CommandError, match="401: no key"):
        await tell()
    assert sorted(told) == [1, 2]
