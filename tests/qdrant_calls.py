"""The in-process Qdrant client, made to behave like one over a network: it gives way, and it can be cut off."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx
from qdrant_client import AsyncQdrantClient
from qdrant_client.http.exceptions import ResponseHandlingException


class Calls:
    """Stands before a client: gives way to other tasks at every call, counts, and fails from one call on."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self.names: list[str] = []
        self.cut_after: int | None = None
        self.answer_lost = False
        self._client = client

    @property
    def client(self) -> AsyncQdrantClient:
        return cast(AsyncQdrantClient, self)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            self.names.append(name)
            cut = self.cut_after is not None and len(self.names) > self.cut_after
            if cut and not (self.answer_lost and len(self.names) == (self.cut_after or 0) + 1):
                raise ResponseHandlingException(httpx.ConnectError("cut off"))
            answer = await getattr(self._client, name)(*args, **kwargs)
            if cut:
                raise ResponseHandlingException(httpx.ReadError("cut off before the answer"))
            return answer

        return call
