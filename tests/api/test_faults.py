"""What goes wrong below a request: it is answered for what it is, and the service goes on."""

import asyncio
import threading
from collections.abc import Sequence

import httpx
import pytest

from datastores.base import DatastoreUnavailable, DomainVersion, Neighbour
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from service.settings import Settings, TimeoutSettings
from tests.api.conftest import serving
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
from tests.fuzz.recordings import KINDS, claiming
from tests.memory_store import MemoryStore
from tests.recordings import wav


async def ask(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.post("/caption?domain=city", content=wav(), headers={"content-type": "audio/wav", **headers})


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


class BatchDecoder(FakeDecoder):
    """Holds the first batch until `gate` is set, and remembers how large the batches were."""

    def __init__(self) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.batches.append(len(prompts))
        self.entered.set()
        assert self.gate.wait(10)
        return super().generate(prompts, options, gone)


async def test_what_waits_for_the_decoder_is_written_in_one_batch(store: MemoryStore) -> None:
    decoder = BatchDecoder()
    async with serving(store, FakeBundle(decoder=decoder)) as client:
        first = asyncio.create_task(ask(client))
        await asyncio.to_thread(decoder.entered.wait, 10)
        others = [asyncio.create_task(ask(client)) for _ in range(5)]
        await waiting_for_the_decoder(client, 6)
        decoder.gate.set()
        answers = await asyncio.gather(first, *others)
    assert {answer.json()["caption"] for answer in answers} == {"Heard: tone 4"}
    assert decoder.batches == [1, 5]


async def waiting_for_the_decoder(client: httpx.AsyncClient, admitted: int) -> None:
    """Until so many requests are let in, of which one is with the decoder and the others wait for it."""
    expected = {f'drcap_admitted{{kind="captions"}} {admitted}.0', f'drcap_queue_depth{{queue="llm"}} {admitted - 1}.0'}
    async with asyncio.timeout(10):
        while not expected <= set((await client.get("/metrics")).text.splitlines()):
            pass


class MortalClap(FakeClap):
    """Its thread dies the first `deaths` times something is heard."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        if self.deaths:
            self.deaths -= 1
            raise SystemExit
        return super().embed_audio(windows)


async def test_a_worker_that_dies_once_costs_nobody_an_answer(store: MemoryStore) -> None:
    async with serving(store, FakeBundle(clap=MortalClap(1))) as client:
        assert (await ask(client)).json()["caption"] == "Heard: tone 4"


async def test_a_request_that_kills_the_worker_fails_alone(store: MemoryStore) -> None:
    async with serving(store, FakeBundle(clap=MortalClap(2))) as client:
        killer = await ask(client)
        assert problem(killer) == (503, "model-failed")
        assert killer.headers["retry-after"]
        assert (await ask(client)).json()["caption"] == "Heard: tone 4"


class SmallMemoryDecoder(BatchDecoder):
    """Has memory for two prompts at a time."""

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        answers = super().generate(prompts, options, gone)
        if len(prompts) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return answers


async def test_a_batch_without_enough_memory_is_tried_again_in_halves(store: MemoryStore) -> None:
    decoder = SmallMemoryDecoder()
    async with serving(store, FakeBundle(decoder=decoder)) as client:
        first = asyncio.create_task(ask(client))
        await asyncio.to_thread(decoder.entered.wait, 10)
        others = [asyncio.create_task(ask(client)) for _ in range(4)]
        await waiting_for_the_decoder(client, 5)
        decoder.gate.set()
        answers = await asyncio.gather(first, *others)
    assert [answer.status_code for answer in answers] == [200] * 5
    assert decoder.batches[:2] == [1, 4]
    assert max(decoder.batches[2:]) == 2


class PickyDecoder(BatchDecoder):
    """Fails at any batch with a prompt about rain."""

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        answers = super().generate(prompts, options, gone)
        if any("owl" in one.text for one in answers):
            raise ValueError("no owls")
        return answers


async def test_one_bad_item_of_a_batch_fails_alone(store: MemoryStore) -> None:
    clap, decoder = FakeClap(), PickyDecoder()
    await store.put("owls", ["an owl calls"], clap.embed_text(["an owl calls"]), clap.fingerprint)
    async with serving(store, FakeBundle(decoder=decoder)) as client:
        first = asyncio.create_task(ask(client))
        await asyncio.to_thread(decoder.entered.wait, 10)
        good = [asyncio.create_task(ask(client)) for _ in range(3)]
        bad = asyncio.create_task(client.post("/caption?domain=owls", content=wav()))
        await waiting_for_the_decoder(client, 5)
        decoder.gate.set()
        assert [one.status_code for one in await asyncio.gather(first, *good)] == [200] * 4
        assert problem(await bad) == (500, "internal-error")


async def test_a_client_can_ask_for_less_time(store: MemoryStore) -> None:
    decoder = BatchDecoder()
    async with serving(store, FakeBundle(decoder=decoder)) as client:
        late = await ask(client, **{"x-request-timeout": "0.2"})
        decoder.gate.set()
        assert problem(late) == (504, "deadline-passed")
        assert "0.2 s (X-Request-Timeout)" in late.json()["detail"]


@pytest.mark.parametrize("asked", ["soon", "0", "-1", "nan"])
async def test_a_timeout_that_is_none_is_refused(client: httpx.AsyncClient, asked: str) -> None:
    answer = await ask(client, **{"x-request-timeout": asked})
    assert problem(answer) == (400, "bad-field")
    assert "X-Request-Timeout" in answer.json()["detail"]


async def test_what_expired_while_it_waited_is_never_written(store: MemoryStore) -> None:
    decoder = BatchDecoder()
    async with serving(store, FakeBundle(decoder=decoder)) as client:
        first = asyncio.create_task(ask(client))
        await asyncio.to_thread(decoder.entered.wait, 10)
        late = await ask(client, **{"x-request-timeout": "0.3"})
        decoder.gate.set()
        assert (await first).status_code == 200
        assert (await ask(client)).status_code == 200
    assert problem(late) == (504, "deadline-passed")
    assert decoder.batches == [1, 1]


async def test_a_stuck_model_ends_the_life_of_the_process(store: MemoryStore) -> None:
    decoder = BatchDecoder()
    settings = Settings(timeouts=TimeoutSettings(stall_seconds=0.2))
    async with serving(store, FakeBundle(decoder=decoder), settings) as client:
        assert (await client.get("/livez")).status_code == 200
        waits = asyncio.create_task(ask(client))
        await asyncio.to_thread(decoder.entered.wait, 10)
        async with asyncio.timeout(10):
            while (stuck := await client.get("/livez")).status_code == 200:
                pass
        assert problem(stuck) == (503, "not-ready")
        assert "DRCAP_TIMEOUTS__STALL_SECONDS" in stuck.json()["detail"]
        decoder.gate.set()
        assert (await waits).status_code == 200
        assert (await client.get("/livez")).status_code == 200


class TravellingStore(MemoryStore):
    """Does not answer while it is `away`."""

    away = False

    async def resolve(self, domain: str) -> DomainVersion:
        self._answer()
        return await super().resolve(domain)

    async def search(self, version: DomainVersion, vectors: FloatArray, limit: int) -> list[list[Neighbour]]:
        self._answer()
        return await super().search(version, vectors, limit)

    def _answer(self) -> None:
        if self.away:
            raise DatastoreUnavailable("the datastore does not answer")


async def test_a_datastore_that_goes_away_is_said_to_be_and_used_again_once_it_is_back(store: MemoryStore) -> None:
    travelling = TravellingStore()
    travelling._versions = store._versions
    async with serving(travelling) as client:
        assert (await ask(client)).status_code == 200
        travelling.away = True
        for _ in range(3):
            gone = await ask(client)
            assert problem(gone) == (503, "datastore-unavailable")
            assert gone.headers["retry-after"]
        assert (await client.get("/livez")).status_code == 200
        travelling.away = False
        assert (await ask(client)).json()["caption"] == "Heard: tone 4"
        figures = (await client.get("/metrics")).text
    assert "drcap_datastore_errors_total 3.0" in figures
    assert 'drcap_admitted{kind="captions"} 0.0' in figures


class BrokenClap(FakeClap):
    """Fails the first `failures` times something is heard, as `error` says."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error = failures, error

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        if self.failures:
            self.failures -= 1
            raise self.error
        return super().embed_audio(windows)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA out of memory"), (503, "model-failed")),
        (MemoryError(), (503, "model-failed")),
        (ValueError("no"), (500, "internal-error")),
        (StopIteration(), (500, "internal-error")),
    ],
)
async def test_a_model_that_fails_at_one_recording_hears_the_next(
    store: MemoryStore, error: Exception, expected: tuple[int, str]
) -> None:
    async with serving(store, FakeBundle(clap=BrokenClap(1, error))) as client:
        failed = await ask(client)
        assert problem(failed) == expected
        assert str(error) not in failed.text or not str(error)
        assert (await ask(client)).json()["caption"] == "Heard: tone 4"
        assert 'drcap_admitted{kind="captions"} 0.0' in (await client.get("/metrics")).text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_small_file_that_claims_ten_hours_is_refused_or_taken_for_what_it_holds(
    client: httpx.AsyncClient, kind: str
) -> None:
    data = claiming(kind, 36_000)
    assert len(data) < 50_000
    answer = await client.post("/caption?domain=city", content=data)
    if kind == "OGG":  # states a length on its last page only, which says nothing of what is before
        assert answer.json()["duration"] < 1
    else:
        assert problem(answer) == (413, "too-large")
        assert "DRCAP_AUDIO__MAX_SECONDS" in answer.json()["detail"]
