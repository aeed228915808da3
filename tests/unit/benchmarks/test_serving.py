"""The load that servers are measured with, against a server whose speed is known, and the service over fakes."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI, Request, Response
from rich.console import Console

from benchmarks.report import Report
from benchmarks.serving import clients, measure, servers
from benchmarks.serving.clients import Answers, ask_json, ask_raw, closed_loop, open_loop
from benchmarks.serving.plain import load_domain, save_domain
from benchmarks.serving.soak import SoakSettings, soak
from tests.recordings import wav
from tests.served import served

_SECONDS = 0.05
CAPTIONS = [f"tone {number} in the city" for number in range(40)]


def slow_server(capacity: int = 100) -> FastAPI:
    """Answers after a while; refuses what is more than its capacity."""
    app = FastAPI()
    under_way = 0

    @app.post("/caption")
    async def caption() -> Response:
        nonlocal under_way
        if under_way >= capacity:
            return Response(status_code=503)
        under_way += 1
        await asyncio.sleep(_SECONDS)
        under_way -= 1
        return Response()

    return app


def test_a_closed_loop_keeps_as_many_requests_under_way_as_there_are_clients() -> None:
    with served(slow_server(capacity=3)) as url:
        answers = asyncio.run(closed_loop(ask_raw(f"{url}/caption"), [b"x"], 3, 0.6))
    assert not answers.refused
    assert not answers.failed
    assert min(answers.captioned) >= _SECONDS
    assert answers.row()["captions_per_s"] <= 3 / _SECONDS  # type: ignore[operator]


class Clock:
    """Stands in for `time`: a second passes with each caption, however long that takes."""

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


def test_only_what_is_answered_between_the_ramp_and_the_end_is_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(clients, "time", clock)
    with served(clock.server()) as url:
        answers = asyncio.run(closed_loop(ask_raw(f"{url}/caption"), [b"x"], 1, 3.0, ramp=2.5))
    # One a second: the third to the fifth are in time, the sixth was begun in time.
    assert (len(answers.captioned), answers.late) == (4, 1)
    assert answers.row()["captions_per_s"] == 1.0


@pytest.mark.parametrize("waiting", [1, 16])
def test_of_a_server_that_takes_one_at_a_time_the_rate_is_that_of_its_work_however_many_wait(waiting: int) -> None:
    app, one = FastAPI(), asyncio.Lock()

    @app.post("/caption")
    async def caption() -> None:
        async with one:
            await asyncio.sleep(_SECONDS)

    with served(app) as url:
        answers = asyncio.run(closed_loop(ask_raw(f"{url}/caption"), [b"x"], waiting, 0.6, ramp=0.2))
    # One more where the first ended just after the ramp and the last just in time.
    assert 0 < len(answers.captioned) - answers.late <= 0.6 / _SECONDS + 1


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
            # Captioned once five more have come, which nobody would send who waits for this answer.
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


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    path = tmp_path / "domain.npz"
    save_domain(path, CAPTIONS, np.eye(len(CAPTIONS), dtype=np.float32))
    return path


def test_a_domain_is_read_as_it_was_written(domain: Path) -> None:
    captions, vectors = load_domain(domain)
    assert captions == CAPTIONS
    assert vectors.shape == (40, 40)


@pytest.fixture
def _faked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is that over fakes, and the stages are not measured."""
    monkeypatch.setattr(servers, "server_command", lambda: [sys.executable, "-m", "tests.e2e.fake_service", "serve"])
    monkeypatch.setattr(measure, "stage_costs", lambda *_: [{"what": "bound", "captions_per_s": 2.0}])


@pytest.mark.usefixtures("_faked")
def test_the_service_is_measured_from_a_lone_client_to_overload(tmp_path: Path) -> None:
    report = Report("serving", {})
    settings = measure.ServingSettings(("drcap",), (1, 4), seconds=1.0, ramp=0.2, overload=(2.0,))
    recordings = [wav(0.3)]
    measure.run(CAPTIONS, np.eye(40, dtype=np.float32), recordings, settings, report, Console(quiet=True))
    closed = [row for row in report.rows if "clients" in row]
    assert [row["clients"] for row in closed] == [1, 4]
    assert all(row["captions"] and not row["failed"] and row["drcap_times_faster"] == 1.0 for row in closed)
    assert all(row["peak_mb"] for row in closed)
    over = report.rows[-1]
    assert not over["failed"]
    assert over["captions"]


@pytest.mark.usefixtures("_faked")
def test_a_soak_tells_what_is_held_each_minute_and_how_it_grew(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.serving.soak._SAMPLE_SECONDS", 0.05)
    report = Report("soak", {})
    soak(domain, [wav(0.3)], SoakSettings(clients=2, minutes=0.03), report)
    growth, load = report.rows[-2:]
    assert set(growth) == {"what", "rss_mb_growth", "file_descriptors_growth", "threads_growth"}
    assert load["captions"]
    assert not load["failed"]
