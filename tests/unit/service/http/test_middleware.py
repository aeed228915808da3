"""What every answer carries, and what is logged and counted of it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from service.http.middleware import RequestContext, SafeHeaders
from service.monitoring.metrics import Metrics

Handler = Callable[[Request], Awaitable[Response]]


def app(handler: Handler) -> ASGIApp:
    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await handler(Request(scope, receive))
        await answer(scope, receive, send)

    return SafeHeaders(RequestContext(called, Metrics()))


async def ask(handler: Handler, **options: object) -> httpx.Response:
    transport = httpx.ASGITransport(app(handler), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://drcap") as client:
        return await client.post("/", **options)  # type: ignore[arg-type]


async def test_the_id_of_a_request_is_known_to_every_line_logged_meanwhile_and_to_none_after() -> None:
    async def handler(_: Request) -> Response:
        return JSONResponse(get_contextvars())

    assert (await ask(handler, headers={"X-Request-ID": "abc"})).json() == {"request_id": "abc"}
    assert "request_id" not in get_contextvars()


async def test_every_answer_tells_how_long_it_took() -> None:
    async def handler(_: Request) -> Response:
        return Response()

    assert re.fullmatch(r"total;dur=\d+\.\d", (await ask(handler)).headers["server-timing"])


async def test_an_answer_that_tells_its_stages_keeps_them() -> None:
    async def handler(_: Request) -> Response:
        return Response(headers={"Server-Timing": "search;dur=1.0, total;dur=2.0"})

    assert (await ask(handler)).headers.get_list("server-timing") == ["search;dur=1.0, total;dur=2.0"]


async def failing(_: Request) -> Response:
    raise RuntimeError("secret")


async def empty(_: Request) -> Response:
    return Response(status_code=204)


@pytest.mark.parametrize("handler", [failing, empty])
async def test_no_answer_is_guessed_at_framed_or_kept(handler: Handler) -> None:
    headers = (await ask(handler)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_a_page_keeps_its_own_policy() -> None:
    async def handler(_: Request) -> Response:
        return Response(headers={"Content-Security-Policy": "default-src 'self'", "Cache-Control": "no-cache"})

    headers = (await ask(handler)).headers
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert headers.get_list("cache-control") == ["no-cache"]


async def test_a_request_leaves_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        await request.body()
        request.state.key = "studio"

        async def parts() -> AsyncIterator[bytes]:
            yield b"12345"
            yield b"678"

        return StreamingResponse(parts(), status_code=201)

    with caplog.at_level("INFO", logger="service.http.middleware"):
        await ask(handler, content=b"x" * 100)
    (line,) = [vars(one) for one in caplog.records if one.name == "service.http.middleware"]
    assert {name: line[name] for name in ("method", "route", "status", "bytes_in", "bytes_out", "key")} == {
        "method": "POST",
        "route": "unmatched",
        "status": 201,
        "bytes_in": 100,
        "bytes_out": 8,
        "key": "studio",
    }
    assert 0 <= line["seconds"] < 60


async def test_a_failure_leaves_its_line_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="service.http.middleware"):
        answer = await ask(failing)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert [vars(one)["status"] for one in caplog.records if one.name == "service.http.middleware"] == [500]
