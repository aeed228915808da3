"""Clients that are slow, silent, many or suddenly gone, over real sockets: none keeps others out or the log busy."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.types import Receive, Scope, Send

from datastores.base import DomainStore
from service.app import create_app
from service.http import connections
from service.runtime import Loaders
from service.settings import Settings
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore
from tests.raw import Wire, head, status_of, wire
from tests.recordings import wav
from tests.served import served

pytestmark = pytest.mark.slow

CAPTIONS = ["tone 4", "tone 9 in the city", "rain on a roof"]
SECONDS = 0.4
# Beyond which a bound has not held, on a machine that is busy with other things.
GRACE = 5.0


@contextmanager
def service(
    tmp_path: Path, megabytes: int = 0, client_seconds: float = SECONDS, upload_rate: int = 500, **server: Any
) -> Iterator[str]:
    """The service over fakes with the domain ``city``, as large as asked; gives its URL."""
    settings = Settings.model_validate({"server": server, "jobs": {"path": tmp_path / "jobs"}})
    clap = FakeClap()
    captions = [*CAPTIONS, *(f"{number:1000}" for number in range(1000 * megabytes))]
    vectors = np.resize(clap.embed_text(CAPTIONS), (len(captions), clap.embedding_dim))

    async def open_store(_: Settings) -> DomainStore:
        store = MemoryStore()
        await store.put("city", captions, vectors, clap.fingerprint)
        return store

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "CLIENT_SECONDS", client_seconds)
        patch.setattr(connections, "UPLOAD_RATE", upload_rate)
        app = create_app(settings, Loaders(lambda _: FakeBundle(), open_store))
        with served(app, settings.server, timeout_keep_alive=1, log_config=None) as url:
            eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
            yield url


def eventually(holds: Any, seconds: float = GRACE) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def hears(url: str) -> bool:
    """Whether a recording is answered as it should be."""
    answer = httpx.post(f"{url}/caption?domain=city", content=wav(), headers={"content-type": "audio/wav"})
    return bool(answer.status_code == 200 and answer.json()["caption"] == "Heard: tone 4")


def nobody_is_let_in(url: str) -> bool:
    return 'drcap_admitted{kind="captions"} 0.0' in httpx.get(f"{url}/metrics").text


def upload(length: int, *headers: str) -> bytes:
    return head("POST", "/caption?domain=city", "Content-Type: audio/wav", f"Content-Length: {length}", *headers)


def open_wires(stack: ExitStack, url: str, number: int) -> list[Wire]:
    return [stack.enter_context(wire(url)) for _ in range(number)]


def test_a_client_that_says_nothing_is_left(tmp_path: Path) -> None:
    with service(tmp_path) as url, wire(url) as client:
        assert status_of(client.answer(SECONDS + GRACE)) == 408
        assert client.closed_within(GRACE)


def test_headers_a_byte_at_a_time_are_given_up_and_others_are_served_meanwhile(tmp_path: Path) -> None:
    with service(tmp_path) as url, wire(url) as client:
        started = time.monotonic()
        client.send(b"GET /livez HTTP/1.1\r\n")
        assert hears(url)
        assert status_of(client.dribble(b"X-Slow: " + b"a" * 1000, 0.05, SECONDS + GRACE)) == 408
        assert time.monotonic() - started >= SECONDS
        assert client.closed_within(GRACE)


def test_the_headers_of_a_second_request_are_bounded_too(tmp_path: Path) -> None:
    with service(tmp_path) as url, wire(url) as client:
        client.send(head("GET", "/livez"))
        assert status_of(client.answer(GRACE)) == 200
        answer = client.dribble(b"GET /livez HTTP/1.1\r\nX-Slow: " + b"a" * 1000, 0.05, SECONDS + GRACE)
        assert answer == b""
        assert client.closed_within(GRACE)


def test_an_upload_at_a_byte_a_second_is_refused_and_holds_its_permit_no_longer(tmp_path: Path) -> None:
    with service(tmp_path, upload_rate=100_000) as url, wire(url) as client:
        client.send(upload(1000))
        answer = client.dribble(wav(), 0.1, SECONDS + GRACE)
        assert status_of(answer) == 408
        assert b"urn:drcap:problem:upload-too-slow" in answer
        assert b"it must arrive at 100000 bytes a second or more" in answer
        assert client.closed_within(GRACE)
        assert nobody_is_let_in(url)
        assert hears(url)


def test_an_upload_at_the_rate_is_taken(tmp_path: Path) -> None:
    recording = wav(0.2)
    with service(tmp_path, upload_rate=1000) as url, wire(url) as client:
        client.send(upload(len(recording)))
        for start in range(0, len(recording), 800):
            client.send(recording[start : start + 800])
            time.sleep(0.06)
        assert status_of(client.answer(GRACE)) == 200


def test_a_slow_upload_is_answered_at_its_deadline(tmp_path: Path) -> None:
    with service(tmp_path, client_seconds=1.0, upload_rate=1) as url, wire(url) as client:
        client.send(upload(100_000, "X-Request-Timeout: 0.3"))
        started = time.monotonic()
        answer = client.dribble(wav(), 0.05, GRACE)
        assert status_of(answer) == 504
        assert time.monotonic() - started >= 0.3
        assert nobody_is_let_in(url)
        # What is still sent of a body that nobody will read keeps the connection no longer than a head may take.
        assert client.dribble(wav()[:400], 0.05, GRACE) == b""
        assert client.closed_within(GRACE)


def test_a_corpus_at_a_byte_a_second_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with service(tmp_path, upload_rate=100_000) as url, wire(url) as client:
        client.send(head("PUT", "/domains/new", "Content-Type: text/plain", "Transfer-Encoding: chunked"))
        assert status_of(client.dribble(b"1\r\na\r\n" * 100, 0.05, SECONDS + GRACE)) == 408
        eventually(lambda: list((tmp_path / "jobs").glob("*.part")) == [])
        put = httpx.put(f"{url}/domains/new?wait=true", content="rain\n", headers={"content-type": "text/plain"})
        assert put.status_code == 201


def test_slow_uploads_keep_no_more_than_their_permits_and_no_longer_than_they_may(tmp_path: Path) -> None:
    with service(tmp_path, upload_rate=100_000) as url, ExitStack() as stack:
        clients = open_wires(stack, url, 20)
        for client in clients:
            client.send(upload(1000))
        statuses = [status_of(client.answer(SECONDS + GRACE)) for client in clients]
        assert sorted(map(str, statuses)) == ["408"] * 16 + ["503"] * 4
        assert hears(url)


def test_an_answer_that_nobody_takes_is_given_up(tmp_path: Path) -> None:
    with service(tmp_path, megabytes=10) as url, wire(url, receive_buffer=4096) as client:
        started = time.monotonic()
        client.send(head("GET", "/domains/city/captions"))
        eventually(lambda: 'route="/domains/{name}/captions"' in httpx.get(f"{url}/metrics").text, SECONDS + GRACE)
        assert time.monotonic() - started >= SECONDS
        assert client.closed_within(GRACE)


def test_an_answer_that_is_taken_slowly_is_whole(tmp_path: Path) -> None:
    with service(tmp_path, megabytes=5) as url, wire(url, receive_buffer=32768) as client:
        started = time.monotonic()
        client.send(head("GET", "/domains/city/captions"))
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += client.take(32768)
            time.sleep(0.015)
        assert time.monotonic() - started > 4 * SECONDS
        assert got.count(b'{"caption"') == 5000 + len(CAPTIONS)


def test_idle_connections_give_way_to_those_that_ask(tmp_path: Path) -> None:
    with service(tmp_path, connections=10, client_seconds=60) as url, ExitStack() as stack:
        idle = open_wires(stack, url, 30)
        for client in idle:
            client.send(b"POST /caption HTTP/1.1\r\nX-Slow: ")
        for _ in range(5):
            assert hears(url)
        assert sum(client.closed_within(0.05) for client in idle) >= 20


def test_connections_that_are_all_at_work_give_way_to_none(tmp_path: Path) -> None:
    with service(tmp_path, connections=3, client_seconds=60) as url, ExitStack() as stack:
        for client in open_wires(stack, url, 3):
            client.send(upload(1000))
        time.sleep(0.2)
        with wire(url) as another:
            answer = another.answer(GRACE)
            assert status_of(answer) == 503
            assert b"retry-after" in answer
            assert another.closed_within(GRACE)


def test_a_stated_length_over_the_limit_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    with service(tmp_path) as url, wire(url) as client:
        client.send(upload(Settings().audio.max_bytes + 1))
        assert status_of(client.answer(GRACE)) == 413
        assert client.closed_within(GRACE)


def test_a_body_of_no_stated_length_is_refused_as_its_bytes_pass_the_limit(tmp_path: Path) -> None:
    limit, sent = Settings().audio.max_bytes, 0
    with service(tmp_path) as url, wire(url) as client:
        client.send(head("POST", "/caption?domain=city", "Transfer-Encoding: chunked"))
        while sent < 2 * limit and client.send(b"10000\r\n" + bytes(65536) + b"\r\n"):
            sent += 65536
        assert limit < sent < 1.5 * limit
        assert status_of(client.answer(GRACE)) == 413
        assert client.closed_within(GRACE)
        assert hears(url)


def test_a_length_that_lies_is_taken_at_its_word(tmp_path: Path) -> None:
    recording = wav()
    with service(tmp_path) as url, wire(url) as client:
        client.send(upload(len(recording) - 1000) + recording)
        answer = client.answer(GRACE)
        assert status_of(answer) == 422
        assert b"cut short" in answer
        assert hears(url)


@pytest.mark.parametrize("path", ["/caption?domain=city", "/no/such/path"])
def test_a_body_that_is_no_http_is_answered_once_and_its_request_given_up(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with service(tmp_path) as url:
        for pieces in ((b"5\r\nRIFFx\r\nzz\r\n",), (b"5\r\nRIFFx\r\n", b"zz\r\n")):
            with wire(url) as client:
                client.send(head("POST", path, "Transfer-Encoding: chunked") + pieces[0])
                time.sleep(0.2)
                client.send(b"".join(pieces[1:]))
                assert status_of(client.answer(GRACE)) in (400, 404)
                assert client.closed_within(GRACE)
        eventually(lambda: nobody_is_let_in(url))
        assert hears(url)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


class Collected(logging.Handler):
    """Keeps what is logged from warnings on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is logged from warnings on, also by uvicorn."""
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
    handler = Collected()
    logging.getLogger().addHandler(handler)
    yield handler.messages
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="before the head"),
        pytest.param(b"POST /caption HT", id="in the head"),
        pytest.param(upload(len(wav())) + wav()[:2000], id="in the body"),
        pytest.param(upload(len(wav())) + wav(), id="before the answer"),
        pytest.param(head("GET", "/domains/city/captions"), id="in the answer"),
        pytest.param(head("GET", "/livez"), id="after the answer"),
    ],
)
def test_a_client_that_resets_its_connection_is_not_logged(tmp_path: Path, sent: bytes, warnings: list[str]) -> None:
    with service(tmp_path, megabytes=10) as url:
        for pause in (0.0, 0.01, 0.2):
            with wire(url, receive_buffer=4096) as client:
                client.send(sent)
                time.sleep(pause)
                client.reset()
        time.sleep(1.3)  # until every timer of these connections would have fired
        assert httpx.get(f"{url}/readyz").status_code == 200
    assert warnings == []


def test_parts_of_an_answer_after_a_reset_are_not_written(warnings: list[str]) -> None:
    reset, done = threading.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            reset.wait(GRACE)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(20):
                await send({"type": "http.response.body", "body": b"part", "more_body": number < 19})
            done.set()

    with served(app, log_config=None) as url, wire(url) as client:
        client.send(head("GET", "/"))
        time.sleep(0.1)
        client.reset()
        reset.set()
        assert done.wait(GRACE)
    assert warnings == []
