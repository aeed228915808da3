"""What goes wrong below a request: it is answered for what it is, and the service goes on."""

import asyncio
import threading
from collections.abc import Sequence

import httpx
import pytest

from models.clap.base import FloatArray
from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from service.settings import Settings, TimeoutSettings
from tests.api.conftest import serving
from tests.fakes import FakeBundle, FakeClap, FakeDecoder
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
    """Until so many requests are let in, and a moment more for the fakes before the decoder."""
    for _ in range(2000):
        if f'drcap_admitted{{kind="captions"}} {admitted}.0' in (await client.get("/metrics")).text:
            break
    await asyncio.sleep(0.3)


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
        await asyncio.sleep(0.4)
        stuck = await client.get("/livez")
        assert problem(stuck) == (503, "not-ready")
        assert "DRCAP_TIMEOUTS__STALL_SECONDS" in stuck.json()["detail"]
        decoder.gate.set()
        assert (await waits).status_code == 200
        assert (await client.get("/livez")).status_code == 200
