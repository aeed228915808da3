import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.errors import ClientGone
from service.http.bounds import while_connected


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
        async with while_connected(request(leaves)):
            await work()
    assert cancelled.is_set()


async def test_the_work_of_a_client_that_stays_is_answered() -> None:
    async def work() -> str:
        return "caption"

    async with while_connected(request(asyncio.Event())):
        assert await work() == "caption"


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        async with while_connected(request(asyncio.Event())):
            await work()


async def test_a_request_that_is_cancelled_takes_its_work_along() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def connected() -> None:
        async with while_connected(request(asyncio.Event())):
            await work()

    task = asyncio.create_task(connected())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert cancelled.is_set()
    assert task.cancelled()


async def test_a_client_that_leaves_as_the_work_ends_cancels_nothing_else() -> None:
    for _ in range(100):
        leaves = asyncio.Event()
        try:
            async with while_connected(request(leaves)):
                leaves.set()
                await asyncio.sleep(0)
        except ClientGone:
            pass
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
