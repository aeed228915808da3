"""CLAP and decoder at work: who computes when both share the cores."""

import asyncio
import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from models.decoder import Generated, GenerationOptions, Gone, nobody
from models.prompt import Prompt
from models.vectors import FloatArray
from service.batching.queue import BatcherClosed
from service.batching.turns import SharedCores
from service.batching.worker import left_threads
from service.captioning.batched_models import BatchedModels
from service.settings import BatchingSettings
from tests.fakes import FakeBundle, FakeClap, FakeDecoder, GatedClap

_PATIENCE = 10.0
WINDOW = np.ones(800, dtype=np.float32)
PROMPT = Prompt(np.zeros(64, dtype=np.float32), ("a bus",))


class Computing:
    """Counts who computes at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


class BusyClap(FakeClap):
    def __init__(self, computing: Computing, pause: float) -> None:
        self._computing, self._pause = computing, threading.Event()
        self._seconds = pause
        self.calls = 0

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        with self._computing:
            self._pause.wait(self._seconds)
            self.calls += 1
            return super().embed_audio(windows)


class SteppingDecoder(FakeDecoder):
    """Writes token by token until it is told to stop."""

    def __init__(self, computing: Computing, steps: int = 1) -> None:
        self._computing, self._steps = computing, steps
        self.begun, self.stop = threading.Event(), threading.Event()

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        for step in range(self._steps):
            with self._computing:
                self.begun.set()
                self.stop.wait(0.001)
            if self.stop.is_set() or (step and gone(0)):
                break
            gone(0)
        return super().generate(prompts, options, gone)


async def test_hearing_gets_its_turn_between_two_tokens_of_a_caption() -> None:
    computing = Computing()
    clap, decoder = BusyClap(computing, 0.0), SteppingDecoder(computing, steps=1_000_000)
    models = BatchedModels(FakeBundle(clap=clap, decoder=decoder, turns=1), BatchingSettings(), calls=4)
    await models.start()
    try:
        written = asyncio.create_task(models.write([PROMPT], GenerationOptions()))
        assert await asyncio.to_thread(decoder.begun.wait, _PATIENCE)
        async with asyncio.timeout(_PATIENCE):
            await models.hear([WINDOW])
        assert not written.done()
        decoder.stop.set()
        async with asyncio.timeout(_PATIENCE):
            assert (await written)[0].text == "Heard: a bus"
        assert computing.most == 1
    finally:
        decoder.stop.set()
        await models.close()


async def test_no_more_compute_than_have_turns_and_all_of_these_hear_where_nothing_is_written() -> None:
    computing = Computing()
    clap = BusyClap(computing, 0.05)
    models = BatchedModels(FakeBundle(clap=clap, turns=2), BatchingSettings(), calls=4)
    await models.start()
    try:
        async with asyncio.timeout(_PATIENCE):
            frames = await models.hear([WINDOW] * 8)
        assert [one.shape for one in frames] == [(1, 64)] * 8
        assert computing.most == 2
    finally:
        await models.close()


async def test_a_clap_with_a_device_of_its_own_hears_in_one_thread() -> None:
    computing = Computing()
    models = BatchedModels(FakeBundle(clap=BusyClap(computing, 0.02)), BatchingSettings(), calls=4)
    await models.start()
    try:
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(*(models.hear([WINDOW]) for _ in range(6)))
        assert computing.most == 1
    finally:
        await models.close()


class CountingDecoder(FakeDecoder):
    """Remembers how many prompts each batch had."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.batches.append(len(prompts))
        return super().generate(prompts, options, gone)


async def test_what_comes_while_a_turn_is_waited_for_is_written_together() -> None:
    clap, decoder = GatedClap(), CountingDecoder()
    models = BatchedModels(FakeBundle(clap=clap, decoder=decoder, turns=1), BatchingSettings(), calls=4)
    await models.start()
    try:
        heard = asyncio.create_task(models.hear([WINDOW]))
        assert await asyncio.to_thread(clap.entered.wait, _PATIENCE)
        written = []
        for _ in range(3):
            written.append(asyncio.create_task(models.write([PROMPT], GenerationOptions())))
            await asyncio.sleep(0)
        assert decoder.batches == []
        clap.gate.set()
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(heard, *written)
        assert decoder.batches == [3]
    finally:
        clap.gate.set()
        await models.close()


class HeldDecoder(CountingDecoder):
    """Writes when it is let, and remembers how many prompts each batch had."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate = threading.Event(), threading.Event()

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        self.begun.set()
        self.gate.wait(_PATIENCE)
        return super().generate(prompts, options, gone)


async def test_a_lone_prompt_waits_for_what_is_being_heard_unless_another_replica_is_free_to_take_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.captioning.batched_models.SharedCores", partial(SharedCores, gather=_PATIENCE))
    clap, held, free = GatedClap(), HeldDecoder(), CountingDecoder()
    bundle = FakeBundle(clap=clap, decoder=held, copies=(free,), turns=3)
    models = BatchedModels(bundle, BatchingSettings(), calls=8)
    await models.start()

    async def caption() -> None:
        await models.hear([WINDOW])
        await models.write([PROMPT], GenerationOptions())

    def write() -> "asyncio.Task[list[Generated]]":
        return asyncio.create_task(models.write([PROMPT], GenerationOptions()))

    try:
        heard = asyncio.create_task(caption())
        assert await asyncio.to_thread(clap.entered.wait, _PATIENCE)
        # Both are free: the prompt is taken at once, by the first.
        first = write()
        assert await asyncio.to_thread(held.begun.wait, _PATIENCE)
        second = write()
        await asyncio.sleep(0.2)
        assert free.batches == []
        clap.gate.set()
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(heard, second)
        assert free.batches == [2]
        held.gate.set()
        async with asyncio.timeout(_PATIENCE):
            await first
    finally:
        clap.gate.set()
        held.gate.set()
        await models.close()


async def test_a_lone_prompt_waits_no_longer_than_half_a_second_for_what_is_being_heard() -> None:
    clap, decoder = GatedClap(), CountingDecoder()
    models = BatchedModels(FakeBundle(clap=clap, decoder=decoder, turns=2), BatchingSettings(), calls=4)
    await models.start()
    try:
        heard = asyncio.create_task(models.hear([WINDOW]))
        assert await asyncio.to_thread(clap.entered.wait, _PATIENCE)
        async with asyncio.timeout(_PATIENCE):
            await models.write([PROMPT], GenerationOptions())
        assert not heard.done()
    finally:
        clap.gate.set()
        await heard
        await models.close()


async def hearing(clap: GatedClap) -> tuple[BatchedModels, asyncio.Task[list[FloatArray]]]:
    """Models at work, the CLAP in the middle of a call."""
    models = BatchedModels(FakeBundle(clap=clap), BatchingSettings(), calls=4)
    await models.start()
    heard = asyncio.create_task(models.hear([WINDOW]))
    assert await asyncio.to_thread(clap.entered.wait, _PATIENCE)
    return models, heard


async def test_closing_fails_who_waits_at_once_and_ends_with_the_call_under_way() -> None:
    before, clap = set(threading.enumerate()), GatedClap()
    models, heard = await hearing(clap)
    closing = asyncio.create_task(models.close())
    with pytest.raises(BatcherClosed):
        await heard
    assert not closing.done()
    clap.gate.set()
    async with asyncio.timeout(_PATIENCE):
        await closing
    begun = {thread.name for thread in set(threading.enumerate()) - before}
    assert begun.isdisjoint(left_threads())
    assert clap.calls == 1


async def test_a_call_that_does_not_end_is_left_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    clap = GatedClap()
    models, heard = await hearing(clap)
    try:
        await models.close(0.05)
        assert "clap" in left_threads()
        assert "a call of a model has not ended" in caplog.text
        with pytest.raises(BatcherClosed):
            await heard
    finally:
        clap.gate.set()
