"""Clients: closed loops wait for each answer before the next request; open loops do not wait."""

import asyncio
import base64
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import httpx
import numpy as np

from benchmarks.report import Row

_ANSWER_SECONDS = 600.0


class Ask(Protocol):
    """Makes the request that sends a recording to a server."""

    def __call__(self, recording: bytes, /) -> httpx.Request: ...


@dataclass
class Answers:
    """The answers after the ramp, when the server is fully loaded.

    Attributes:
        captioned: seconds until each caption.
        refused: seconds until each refusal.
        failed: number of other answers.
        elapsed: time in which captions count for the rate, in seconds.
        late: number of captions after that time.
    """

    captioned: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: int = 0
    elapsed: float = 0.0
    late: int = 0

    def row(self) -> Row:
        """Return captions a second, percentiles of the latency in seconds, refusals and failures."""
        p50, p95, p99 = np.percentile(self.captioned, (50, 95, 99)).tolist() if self.captioned else (None,) * 3
        return {
            "captions_per_s": (len(self.captioned) - self.late) / self.elapsed,
            "captions": len(self.captioned),
            "p50_s": p50,
            "p95_s": p95,
            "p99_s": p99,
            "refused": len(self.refused),
            "refusal_p99_s": float(np.percentile(self.refused, 99)) if self.refused else None,
            "failed": self.failed,
        }


def ask_raw(url: str) -> Ask:
    """Send the recording as the body, for the service and the plain handler."""
    return lambda recording: httpx.Request("POST", url, content=recording, headers={"Content-Type": "audio/wav"})


def ask_json(url: str) -> Ask:
    """Send the recording in JSON, the default of LitServe."""
    return lambda recording: httpx.Request("POST", url, json={"audio": base64.b64encode(recording).decode()})


async def closed_loop(
    ask: Ask, recordings: Sequence[bytes], clients: int, seconds: float, ramp: float = 0.0
) -> Answers:
    """Keep a number of requests under way, with the recordings in turn.

    Args:
        ask: makes the requests.
        recordings: are sent again and again.
        clients: number of requests under way.
        seconds: answers within this time count for the rate, whenever they were asked for. Unfinished requests do not
            count, because the server may not have begun them.
        ramp: seconds before that time. At first the server is empty, and answers at most the first requests.
    """
    order = itertools.cycle(recordings)
    async with _session(clients) as session:
        course = _Course(seconds, ramp)

        async def client() -> None:
            while not course.over():
                await course.send(session, ask(next(order)))

        await asyncio.gather(*(client() for _ in range(clients)))
    return course.answers


async def open_loop(
    ask: Ask, recordings: Sequence[bytes], per_second: float, seconds: float, ramp: float = 0.0
) -> Answers:
    """Send at an even rate whatever the answers, like a crowd, then wait for the answers.

    Args:
        ask, recordings, seconds, ramp: see `closed_loop`.
        per_second: requests to send.
    """
    async with _session(10_000) as session, asyncio.TaskGroup() as group:
        course = _Course(seconds, ramp)
        for number, recording in enumerate(itertools.cycle(recordings)):
            due = course.began + number / per_second
            if due >= course.ends:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(course.send(session, ask(recording)))
    return course.answers


class _Course:
    """The time and the answers of a measurement."""

    def __init__(self, seconds: float, ramp: float) -> None:
        self.answers = Answers(elapsed=seconds)
        self.began = time.monotonic()
        self._counts = self.began + ramp
        self.ends = self._counts + seconds

    def over(self) -> bool:
        return time.monotonic() >= self.ends

    async def send(self, session: httpx.AsyncClient, request: httpx.Request) -> None:
        begun = time.monotonic()
        try:
            answer: httpx.Response | None = await session.send(request)
        except httpx.HTTPError:
            answer = None
        now = time.monotonic()
        if now >= self._counts:
            self._count(answer, now - begun, now >= self.ends)

    def _count(self, answer: httpx.Response | None, taken: float, late: bool) -> None:
        if answer is None:
            self.answers.failed += 1
        elif answer.status_code == httpx.codes.OK:
            self.answers.captioned.append(taken)
            self.answers.late += late
        elif answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
            self.answers.refused.append(taken)
        else:
            self.answers.failed += 1


def _session(connections: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(timeout=_ANSWER_SECONDS, limits=limits, trust_env=False)
