"""Closed and open loops, against servers with a known speed."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from benchmarks.serving import clients
from benchmarks.serving.clients import Answers, ask_json, ask_raw, closed_loop, open_loop
from tests.served import served


class Clock:
    """Replaces `time`: each caption takes one second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def server(self) -> FastAPI:
        app = FastAPI()

        @app.post("/caption")
        async def caption() -> None:
            self.now += 1.0

        return app


def without_network(monkeypatch: pytest.MonkeyPatch, app: FastAPI, clock: Clock) -> None:
    """Let clients call the app in their own event loop and use this clock: each answer is counted before the next."""
    transport = httpx.ASGITransport(app)
    monkeypatch.setattr(clients, "_session", lambda _: httpx.AsyncClient(transport=transport))
    monkeypatch.setattr(clients, "time", clock)


def test_a_closed_loop_keeps_as_many_requests_under_way_as_there_are_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    app, clock, three = FastAPI(), Clock(), asyncio.Barrier(3)
    came = 0

    @app.post("/caption")
    async def caption() -> None:
        nonlocal came
        came += 1
        if came % 3 == 0:
            clock.now += 1.0
        # The server answers three at a time: fewer clients would wait forever, and more would send more.
        await three.wait()

    without_network(monkeypatch, app, clock)
    answers = asyncio.run(closed_loop(ask_raw("http://server/caption"), [b"x"], 3, 4.0))
    assert not answers.refused
    assert not answers.failed
    assert came == 12
    assert answers.captioned == [1.0] * 12
    assert answers.late == 3


def test_only_what_is_answered_between_the_ramp_and_the_end_is_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(clients, "time", clock)
    with served(clock.server()) as url:
        answers = asyncio.run(closed_loop(ask_raw(f"{url}/caption"), [b"x"], 1, 3.0, ramp=2.5))
    # One caption a second: the third to the fifth are in time, the sixth began in time.
    assert (len(answers.captioned), answers.late) == (4, 1)
    assert answers.row()["captions_per_s"] == 1.0


@pytest.mark.parametrize("waiting", [1, 16])
def test_of_a_server_that_takes_one_at_a_time_the_rate_is_that_of_its_work_however_many_wait(
    monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    app, clock, one = FastAPI(), Clock(), asyncio.Lock()

    @app.post("/caption")
    async def caption() -> None:
        async with one:
            # The other requests come while this one is in work.
            await asyncio.sleep(0)
            clock.now += 1.0

    without_network(monkeypatch, app, clock)
    answers = asyncio.run(closed_loop(ask_raw("http://server/caption"), [b"x"], waiting, 6.0, ramp=2.0))
    assert len(answers.captioned) - answers.late == 6
    assert answers.row()["captions_per_s"] == 1.0


def test_an_open_loop_keeps_coming_and_tells_refusals_from_failures() -> None:
    app, many = FastAPI(), asyncio.Event()
    came = 0

    @app.post("/caption")
    async def caption(request: Request) -> Response:
        nonlocal came
        if await request.body() == b"broken":
            return Response(status_code=422)
        came += 1
        if came == 1:
            # Answered after five more requests: a client that waits for this answer would not send them.
            await many.wait()
            return Response()
        if came > 5:
            many.set()
        return Response(status_code=503)

    with served(app) as url:
        ask = ask_raw(f"{url}/caption")
        crowd = asyncio.run(open_loop(ask, [b"x"], 100.0, 0.1))
        broken = asyncio.run(open_loop(ask, [b"broken"], 20.0, 0.2))
    assert (len(crowd.captioned), len(crowd.refused), crowd.failed) == (1, 9, 0)
    assert (len(broken.captioned), len(broken.refused), broken.failed) == (0, 0, 4)


def test_no_answer_at_all_is_a_failure_and_has_no_percentiles() -> None:
    answers = asyncio.run(closed_loop(ask_json("http://127.0.0.1:9/predict"), [b"x"], 1, 0.01))
    assert answers.failed
    assert answers.row()["p50_s"] is None


def test_percentiles_are_of_captions_alone() -> None:
    row = Answers([1.0, 2.0, 3.0], [0.1] * 100, elapsed=10.0).row()
    assert (row["p50_s"], row["captions_per_s"], row["refused"]) == (2.0, 0.3, 100)
