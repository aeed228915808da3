"""Clients that leave in the middle, over real sockets: nothing stays behind, and who comes next is answered."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from datastores.base import DomainStore, DomainVersion, FloatArray, Neighbour
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from service.app import create_app
from service.audio.decoding import decode
from service.runtime import Loaders
from service.settings import JobsSettings, Settings
from tests.api.conftest import CITY
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.memory_store import MemoryStore
from tests.raw import head, wire
from tests.recordings import wav
from tests.served import served

WAIT = 10.0
RECORDING = wav()


class Stage:
    """A place where a request can be held: open unless `shut`, and it tells when somebody has come."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self._open.set()

    def shut(self) -> None:
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def passed(self) -> None:
        self.reached.set()
        assert self._open.wait(WAIT)


class HeldClap(FakeClap):
    def __init__(self) -> None:
        self.stage = Stage()
        self.heard = 0

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        self.stage.passed()
        self.heard += len(windows)
        return super().embed_audio(windows)


class SteppingDecoder(FakeDecoder):
    """Asks before each of many steps whether somebody still waits, as a real one does."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.steps, self.stepping = 0, threading.Event()
        self.endless = False

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.stage.passed()
        until = time.monotonic() + WAIT
        while self.endless and not all(gone(index) for index in range(len(prompts))):
            assert time.monotonic() < until
            self.steps += 1
            self.stepping.set()
            time.sleep(0.005)
        return super().generate(prompts, options, gone)


class HeldStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.slow, self.asked, self.given_up = False, threading.Event(), threading.Event()

    async def search(self, version: DomainVersion, vectors: FloatArray, limit: int) -> list[list[Neighbour]]:
        if self.slow:
            self.asked.set()
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                self.given_up.set()
                raise
        return await super().search(version, vectors, limit)


@dataclass
class Running:
    """The service, with the places where a request of it can be held."""

    url: str
    clap: HeldClap
    decoder: SteppingDecoder
    store: HeldStore
    decoding: Stage = field(default_factory=Stage)

    def hears(self) -> None:
        answer = httpx.post(f"{self.url}/caption?domain=city", content=RECORDING, timeout=WAIT)
        assert answer.json()["caption"] == "Heard: tone 4"

    def is_empty(self) -> bool:
        figures = httpx.get(f"{self.url}/metrics").text
        nobody = [
            'drcap_admitted{kind="captions"} 0.0',
            'drcap_admitted{kind="registrations"} 0.0',
            'drcap_queue_depth{queue="clap"} 0.0',
            'drcap_queue_depth{queue="llm"} 0.0',
        ]
        return all(line in figures for line in nobody if line.partition(" ")[0] in figures)

    def left(self) -> float:
        """How many clients were counted as gone."""
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            if line.startswith('drcap_rejections_total{reason="client-gone"}'):
                return float(line.rpartition(" ")[2])
        return 0.0


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    clap, decoder, store = HeldClap(), SteppingDecoder(), HeldStore()

    async def open_store(_: Settings) -> DomainStore:
        await store.put("city", CITY, clap.embed_text(CITY), clap.fingerprint)
        return store

    settings = Settings(jobs=JobsSettings(path=tmp_path / "jobs"))
    app = create_app(settings, Loaders(lambda _: FakeBundle(clap=clap, decoder=decoder), open_store))
    with served(app) as url:
        service = Running(url, clap, decoder, store)

        def held(*args: Any) -> Any:
            service.decoding.passed()
            return decode(*args)

        monkeypatch.setattr("service.runtime.decode", held)
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        yield service


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def a_client(running: Running, sends: bytes) -> Iterator[None]:
    """A client that sends this and leaves at the end of the context."""
    with wire(running.url) as client:
        client.send(sends)
        yield
        client.leave()


def request(*headers: str) -> bytes:
    return (
        head("POST", "/caption?domain=city", "Content-Type: audio/wav", f"Content-Length: {len(RECORDING)}", *headers)
        + RECORDING
    )


# Without an end.
# Without an end.
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + RECORDING[:2000]
FORM_HEADERS = ("Content-Type: multipart/form-data; boundary=b", "Content-Length: 90000")
TEXT_HEADERS = ("Content-Type: text/plain", "Content-Length: 1000")
UPLOADS = {
    "recording": request()[:-1000],
    "recording in a form": head("POST", "/caption?domain=city", *FORM_HEADERS) + FORM,
    "corpus": head("PUT", "/domains/new", *TEXT_HEADERS) + b"rain\n",
    "corpus in a form": head("PUT", "/domains/new", *FORM_HEADERS) + FORM,
}


@pytest.mark.parametrize("sends", UPLOADS.values(), ids=UPLOADS)
def test_leaving_during_the_upload(
    running: Running, sends: bytes, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    before = set((tmp_path / "jobs").iterdir())
    with a_client(running, sends):
        time.sleep(0.2)
    eventually(lambda: running.left() == 1)
    eventually(running.is_empty)
    running.hears()
    assert set((tmp_path / "jobs").iterdir()) == before
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_leaving_while_the_recording_is_decoded(running: Running) -> None:
    running.decoding.shut()
    with a_client(running, request()):
        assert running.decoding.reached.wait(WAIT)
    eventually(lambda: running.left() == 1)
    running.decoding.open()
    eventually(running.is_empty)
    assert running.clap.heard == 0
    running.hears()


def test_leaving_while_it_waits_for_the_clap(running: Running) -> None:
    running.clap.stage.shut()
    with a_client(running, request()):
        assert running.clap.stage.reached.wait(WAIT)
        with a_client(running, request()):
            eventually(lambda: 'drcap_queue_depth{queue="clap"} 1.0' in httpx.get(f"{running.url}/metrics").text)
        eventually(lambda: running.left() == 1)
        running.clap.stage.open()
        eventually(lambda: running.clap.heard == 1)
    eventually(running.is_empty)
    assert running.clap.heard == 1
    running.hears()


def test_leaving_while_the_clap_hears_it(running: Running) -> None:
    running.clap.stage.shut()
    with a_client(running, request()):
        assert running.clap.stage.reached.wait(WAIT)
    eventually(lambda: running.left() == 1)
    running.clap.stage.open()
    eventually(running.is_empty)
    assert running.store.searches == []
    running.hears()


def test_leaving_while_the_datastore_searches(running: Running) -> None:
    running.store.slow = True
    with a_client(running, request()):
        assert running.store.asked.wait(WAIT)
    assert running.store.given_up.wait(WAIT)
    eventually(running.is_empty)
    running.store.slow = False
    running.hears()


def test_leaving_while_it_waits_for_the_llm(running: Running) -> None:
    running.decoder.stage.shut()
    with a_client(running, request()):
        assert running.decoder.stage.reached.wait(WAIT)
        with a_client(running, request()):
            eventually(lambda: 'drcap_queue_depth{queue="llm"} 1.0' in httpx.get(f"{running.url}/metrics").text)
        eventually(lambda: running.left() == 1)
        running.decoder.stage.open()
    eventually(running.is_empty)
    running.hears()


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_leaving_between_two_steps_of_the_decoder(running: Running, accept: str) -> None:
    running.decoder.endless = True
    with a_client(running, request(f"Accept: {accept}")):
        assert running.decoder.stepping.wait(WAIT)
    eventually(running.is_empty)
    running.decoder.endless = False
    running.hears()
    steps = running.decoder.steps
    assert running.decoder.steps == steps


def test_leaving_during_the_answer(running: Running) -> None:
    many = "".join(f"{number:1500}\n" for number in range(3000))
    put = httpx.put(
        f"{running.url}/domains/many?wait=true", content=many, headers={"content-type": "text/plain"}, timeout=60
    )
    assert put.status_code == 201, put.text
    with wire(running.url, receive_buffer=4096) as client:
        client.send(head("GET", "/domains/many/captions"))
        assert client.take(4096).startswith(b"HTTP/1.1 200")
        client.leave()
    eventually(lambda: 'route="/domains/{name}/captions"' in httpx.get(f"{running.url}/metrics").text)
    eventually(running.is_empty)
    running.hears()
