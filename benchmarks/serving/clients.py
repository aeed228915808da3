"""Clients: closed loops, whose next request waits for the last answer, and open ones, which keep coming."""

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
    """How a server is sent a recording."""

    def __call__(self, recording: bytes, /) -> httpx.Request: ...


@dataclass
class Answers:
    """What came back within some time.

    Attributes:
        captioned: seconds of each caption.
        refused: seconds of each refusal.
        failed: how many answers were neither.
        elapsed: the time in seconds.
        outside: of the captions, the parts made after it, in captions.
    """

    captioned: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: int = 0
    elapsed: float = 0.0
    outside: float = 0.0

    def row(self) -> Row:
        """Captions a second, percentiles of the latency in seconds, refusals and failures."""
        p50, p95, p99 = np.percentile(self.captioned, (50, 95, 99)).tolist() if self.captioned else (None,) * 3
        return {
            "captions_per_s": (len(self.captioned) - self.outside) / self.elapsed,
            "captions": len(self.captioned),
            "p50_s": p50,
            "p95_s": p95,
            "p99_s": p99,
            "refused": len(self.refused),
            "refusal_p99_s": float(np.percentile(self.refused, 99)) if self.refused else None,
            "failed": self.failed,
        }


def ask_raw(url: str) -> Ask:
    """The recording as the body, as the service and the plain handler take it."""
    return lambda recording: httpx.Request("POST", url, content=recording, headers={"Content-Type": "audio/wav"})


def ask_json(url: str) -> Ask:
    """The recording in JSON, as LitServe takes it by default."""
    return lambda recording: httpx.Request("POST", url, json={"audio": base64.b64encode(recording).decode()})


async def closed_loop(ask: Ask, recordings: Sequence[bytes], clients: int, seconds: float) -> Answers:
    """Keep so many requests under way, one after the other of the recordings, and count what is answered in time.

    A caption that ends after the time counts by the part of its waiting that lay within, so that few and long ones
    are not rounded to nothing.
    """
    answers = Answers(elapsed=seconds)
    order = itertools.cycle(recordings)

    async def client(session: httpx.AsyncClient, started: float) -> None:
        while time.monotonic() < started + seconds:
            begun = time.monotonic()
            await _send(session, ask(next(order)), answers)
            over = time.monotonic() - (started + seconds)
            answers.outside += max(0.0, over) / (time.monotonic() - begun)

    async with _session(clients) as session:
        now = time.monotonic()
        await asyncio.gather(*(client(session, now) for _ in range(clients)))
    return answers


async def open_loop(ask: Ask, recordings: Sequence[bytes], per_second: float, seconds: float) -> Answers:
    """Send at an even rate whatever comes back, as a crowd does, then wait for the answers.

    Only what was answered while requests still came counts for the rate.
    """
    answers, late = Answers(elapsed=seconds), Answers()

    async def one(session: httpx.AsyncClient, recording: bytes, end: float) -> None:
        mine = Answers()
        await _send(session, ask(recording), mine)
        into = answers if time.monotonic() < end else late
        into.captioned += mine.captioned
        into.refused += mine.refused
        into.failed += mine.failed

    async with _session(10_000) as session, asyncio.TaskGroup() as group:
        started = time.monotonic()
        for number, recording in enumerate(itertools.cycle(recordings)):
            due = started + number / per_second
            if due >= started + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(one(session, recording, started + seconds))
    answers.failed += late.failed
    return answers


def _session(connections: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(timeout=_ANSWER_SECONDS, limits=limits, trust_env=False)


async def _send(session: httpx.AsyncClient, request: httpx.Request, answers: Answers) -> None:
    begun = time.monotonic()
    try:
        answer = await session.send(request)
    except httpx.HTTPError:
        answers.failed += 1
        return
    taken = time.monotonic() - begun
    if answer.status_code == httpx.codes.OK:
        answers.captioned.append(taken)
    elif answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
        answers.refused.append(taken)
    else:
        answers.failed += 1
