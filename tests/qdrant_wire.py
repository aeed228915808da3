"""A stand-in for a Qdrant server: the REST routes that the datastore uses, over a socket, with keys and faults.

The data is that of the client's in-process mode, so what is tested over it is the way there: keys, time limits,
retries, lost connections, a server that goes and comes back. It is no proof of how the real server behaves.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import TypeAdapter
from qdrant_client import AsyncQdrantClient, models
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from datastores.qdrant.config import QdrantConfig
from tests.storage import server_config

_VECTORS = TypeAdapter(models.VectorsConfig)
_UPSERT = TypeAdapter(models.PointInsertOperations)


class Wire:
    """The server. `fault` is what happens to the next requests: None, ``hang``, ``drop`` or a status."""

    def __init__(
        self, read_key: str | None = None, write_key: str | None = None, certificate: tuple[Path, Path] | None = None
    ) -> None:
        """`certificate` is a file of it and one of its key."""
        self._certificate = certificate
        self.fault: str | int | None = None
        self.faults_left: int | None = None
        self.headers: dict[str, str] = {}
        self.requests: list[str] = []
        self._keys = {"read": read_key, "write": write_key}
        self._data = AsyncQdrantClient(":memory:")
        self._app = Starlette(routes=self._routes())
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self._certificate else ''}://127.0.0.1:{self._port}"

    def config(self, **changes: Any) -> QdrantConfig:
        """Short waits, so that tests of failures are fast."""
        given = {"timeout_seconds": 5.0, "retry_seconds": 0.0, "write_timeout_seconds": 5.0, "write_retry_seconds": 0.0}
        return server_config(self.url, **{**given, **changes})

    async def start(self) -> None:
        certificate, key = self._certificate or (None, None)
        config = uvicorn.Config(
            self,
            port=self._port,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = uvicorn.Server(config)
        # The process's signals belong to pytest.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._serving = asyncio.create_task(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None

    def fail(self, fault: str | int, times: int | None = None, headers: dict[str, str] | None = None) -> None:
        """Let the next `times` requests, or all until `heal`, meet a fault."""
        self.fault, self.faults_left, self.headers = fault, times, headers or {}

    def heal(self) -> None:
        self.fault = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        self.requests.append(f"{request.method} {request.url.path}")
        if self.fault is not None and self.faults_left != 0:
            if self.faults_left is not None:
                self.faults_left -= 1
            await self._meet(self.fault, scope, receive, send)
            return
        if (refusal := self._refusal(request)) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _meet(self, fault: str | int, scope: Scope, receive: Receive, send: Send) -> None:
        if fault == "hang":
            await asyncio.sleep(30)
        elif fault == "drop":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        else:
            await _answer_error(int(fault), "a fault of the test", self.headers)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if self._keys["write"] is None and self._keys["read"] is None:
            return None
        key = request.headers.get("api-key")
        if key not in self._keys.values():
            return _answer_error(401, "Must provide an API key or an Authorization bearer token", {})
        path = request.url.path
        reads = request.method == "GET" or path.endswith(("/points", "/scroll", "/count", "/query/batch"))
        if key == self._keys["read"] and (not reads or request.method == "PUT"):
            return _answer_error(403, "Global manage access is required", {})
        return None

    def _routes(self) -> list[Route]:
        data, one, points = self._data, "/collections/{name}", "/collections/{name}/points"

        async def create(name: str, body: Any) -> Any:
            return await data.create_collection(name, vectors_config=_VECTORS.validate_python(body["vectors"]))

        async def update(name: str, body: Any) -> Any:
            return True

        async def upsert(name: str, body: Any) -> Any:
            given = _UPSERT.validate_python(body)
            parsed = given.batch if isinstance(given, models.PointsBatch) else given.points
            return await data.upsert(name, parsed)

        async def retrieve(name: str, body: Any) -> Any:
            vectors = body.get("with_vector", False)
            return await data.retrieve(name, body["ids"], with_payload=True, with_vectors=vectors)

        async def scroll(name: str, body: Any) -> Any:
            vectors = body.get("with_vector", False)
            found, offset = await data.scroll(
                name, limit=body["limit"], offset=body.get("offset"), with_payload=True, with_vectors=vectors
            )
            return models.ScrollResult(points=found, next_page_offset=offset)

        async def query(name: str, body: Any) -> Any:
            return await data.query_batch_points(name, models.QueryRequestBatch.model_validate(body).searches)

        async def aliases(name: str, body: Any) -> Any:
            actions = models.ChangeAliasesOperation.model_validate(body).actions
            return await data.update_collection_aliases(actions)

        async def exists(name: str, body: Any) -> Any:
            return models.CollectionExistence(exists=await data.collection_exists(name))

        return [
            Route("/", self._root),
            self._route("/aliases", lambda _n, _b: data.get_aliases()),
            self._route("/collections", lambda _n, _b: data.get_collections()),
            self._route("/collections/aliases", aliases, "POST"),
            self._route(f"{one}/exists", exists),
            self._route(one, lambda name, _b: data.get_collection(name)),
            self._route(one, create, "PUT"),
            self._route(one, update, "PATCH"),
            self._route(one, lambda name, _b: data.delete_collection(name), "DELETE"),
            self._route(points, upsert, "PUT"),
            self._route(points, retrieve, "POST"),
            self._route(f"{points}/payload", lambda n, b: data.set_payload(n, b["payload"], b["points"]), "POST"),
            self._route(f"{points}/delete", lambda n, b: data.delete(n, models.PointIdsList(**b)), "POST"),
            self._route(f"{points}/count", lambda name, _b: data.count(name), "POST"),
            self._route(f"{points}/scroll", scroll, "POST"),
            self._route(f"{points}/query/batch", query, "POST"),
        ]

    async def _root(self, request: Request) -> Response:
        return JSONResponse((await self._data.info()).model_dump())

    def _route(self, path: str, answer: Callable[[str, Any], Awaitable[Any]], method: str = "GET") -> Route:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            try:
                result = await answer(request.path_params.get("name", ""), json.loads(body) if body else None)
            except (ValueError, KeyError) as error:
                missing = isinstance(error, KeyError) or "not found" in str(error)
                return _answer_error(404 if missing else 409, str(error), {})
            encoded = TypeAdapter(Any).dump_python(result, mode="json", exclude_none=True)
            return JSONResponse({"result": encoded, "status": "ok", "time": 0.0})

        return Route(path, endpoint, methods=[method])


def _answer_error(status: int, message: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"status": {"error": message}, "time": 0.0}, status_code=status, headers=headers)


@asynccontextmanager
async def wired(
    read_key: str | None = None, write_key: str | None = None, certificate: tuple[Path, Path] | None = None
) -> AsyncIterator[Wire]:
    """A running stand-in."""
    wire = Wire(read_key, write_key, certificate)
    await wire.start()
    try:
        yield wire
    finally:
        await wire.stop()
