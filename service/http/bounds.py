"""Bounds on the work of one request: its deadline, and the presence of its client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from service.errors import ClientGone, DeadlinePassed
from service.http.deadlines import Deadline


@asynccontextmanager
async def within(due: Deadline) -> AsyncIterator[None]:
    """Cancel the block when the deadline passes. Raises `DeadlinePassed`, which names the source of the deadline."""
    try:
        async with asyncio.timeout(due.left()) as scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise DeadlinePassed(f"there was no answer within {due.seconds:g} s ({due.source})") from error


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel the block when the client leaves, because nobody would read the answer.

    Read the body of the request before. Raises `ClientGone`.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in a task
    cancelled_before, left = task.cancelling(), False

    async def watch() -> None:
        nonlocal left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # As in asyncio.timeout, a cancellation by anyone else is passed on.
        if left and task.uncancel() <= cancelled_before:
            raise ClientGone("the client left before the answer") from None
        raise
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
