import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.errors import ClientGone
from service.routes.dependencies import while_connected


def request(leaves: asyncio.Event) -> Request:
    async def receive() -> Message:
        await leaves.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "POST", "path": "/caption", "headers": []}, receive)


async def test_work_is_cancelled_when_the_client_leaves() -> None:
    leaves, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        leaves.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ClientGone):
        await while_connected(request(leaves), work())
    assert cancelled.is_set()


async def test_the_work_of_a_client_that_stays_is_answered() -> None:
    async def work() -> str:
        return "caption"

    assert await while_connected(request(asyncio.Event()), work()) == "caption"


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await while_connected(request(asyncio.Event()), work())


async def test_a_request_that_is_cancelled_takes_its_work_along() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(while_connected(request(asyncio.Event()), work()))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert cancelled.is_set()
