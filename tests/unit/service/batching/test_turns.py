"""Turns on the cores: so many at a time, in order, and given up when others wait."""

import asyncio
import threading

import pytest

from service.batching.turns import Turns

_PATIENCE = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def _until_waiting(turns: Turns, count: int) -> None:
    async with asyncio.timeout(_PATIENCE):
        while len(turns._waiting) != count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)


async def _note(turns: Turns, name: str, order: list[str], ahead: bool = False) -> None:
    async with turns.turn(ahead):
        order.append(name)


async def test_no_more_than_so_many_have_a_turn_at_a_time_and_all_get_one() -> None:
    turns, lock, now, most = Turns(2), threading.Lock(), 0, 0

    def compute(change: int) -> None:
        nonlocal now, most
        with lock:
            now += change
            most = max(most, now)

    def thread() -> None:
        for _ in range(20):
            compute(+1)
            threading.Event().wait(0.0002)
            compute(-1)
            turns.offer()

    async def work() -> None:
        for _ in range(5):
            async with turns.turn():
                await asyncio.to_thread(thread)

    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(work() for _ in range(5)))
    assert (now, most) == (0, 2)
    assert turns._free == 2


async def test_turns_go_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns(1), list[str]()
    async with asyncio.TaskGroup() as group, turns.turn():
        for number, name in enumerate("abcde", 1):
            group.create_task(_note(turns, name, order))
            await _until_waiting(turns, number)
    assert order == list("abcde")


async def test_who_is_ahead_overtakes_for_as_long_as_the_head_start_and_no_longer() -> None:
    clock, order = Clock(), list[str]()
    turns = Turns(1, head_start=2.0, clock=clock)
    async with asyncio.TaskGroup() as group, turns.turn():
        group.create_task(_note(turns, "asked at 0", order))
        await _until_waiting(turns, 1)
        for number, time in enumerate((1.5, 2.5), 2):
            clock.now = time
            group.create_task(_note(turns, f"ahead at {time}", order, ahead=True))
            await _until_waiting(turns, number)
    assert order == ["ahead at 1.5", "asked at 0", "ahead at 2.5"]


async def test_an_offered_turn_goes_to_those_who_wait_and_comes_back() -> None:
    turns, order = Turns(1, head_start=0.0), list[str]()

    def offer() -> None:
        turns.offer()
        order.append("mine again")

    async with asyncio.TaskGroup() as group, turns.turn():
        await asyncio.wait_for(asyncio.to_thread(turns.offer), _PATIENCE)
        for number, name in enumerate("ab", 1):
            group.create_task(_note(turns, name, order))
            await _until_waiting(turns, number)
        await asyncio.wait_for(asyncio.to_thread(offer), _PATIENCE)
    assert order == ["a", "b", "mine again"]
    assert turns._free == 1


async def test_who_gives_up_waiting_keeps_no_turn() -> None:
    turns, order = Turns(1), list[str]()
    async with turns.turn():
        waiting = asyncio.create_task(_note(turns, "gone", order))
        await _until_waiting(turns, 1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not turns._waiting
        late = asyncio.create_task(_note(turns, "gone as its turn came", order))
        await _until_waiting(turns, 1)
        turns._give_back()
        late.cancel()
        await asyncio.wait([late])
        await asyncio.wait_for(turns._take(False), _PATIENCE)
    await asyncio.wait_for(_note(turns, "next", order), _PATIENCE)
    assert order == ["next"]


async def test_an_error_gives_the_turn_back() -> None:
    turns = Turns(1)
    with pytest.raises(ValueError, match="no"):
        async with turns.turn():
            raise ValueError("no")
    assert turns._free == 1


def test_there_is_at_least_one_turn() -> None:
    with pytest.raises(ValueError, match="0"):
        Turns(0)


async def test_who_goes_on_keeps_its_turn_until_somebody_comes_first() -> None:
    clock, order = Clock(), list[str]()
    turns = Turns(1, head_start=2.0, clock=clock)
    async with asyncio.TaskGroup() as group, turns.turn(ahead=True):
        await asyncio.wait_for(turns.again(ahead=True), _PATIENCE)
        group.create_task(_note(turns, "waits", order))
        await _until_waiting(turns, 1)
        clock.now = 1.9
        await asyncio.wait_for(turns.again(ahead=True), _PATIENCE)
        assert order == []
        clock.now = 2.1
        await asyncio.wait_for(turns.again(ahead=True), _PATIENCE)
        assert order == ["waits"]
    assert turns._free == 1


async def _one_goes_on_beside_another(turns: Turns) -> tuple[asyncio.Task[None], asyncio.Task[None]]:
    """Of one turn: who waits for it again, and who holds it meanwhile."""

    async def go_on() -> None:
        async with turns.turn():
            await turns.again()

    async with turns.turn():
        going_on = asyncio.create_task(go_on())
        await _until_waiting(turns, 1)
        other = asyncio.create_task(_held(turns))
        await _until_waiting(turns, 2)
    await _until_waiting(turns, 1)  # one holds the turn, the other waits for it
    return going_on, other


async def test_who_gives_up_while_going_on_leaves_as_many_turns_as_there_were() -> None:
    turns, order = Turns(1), list[str]()
    going_on, other = await _one_goes_on_beside_another(turns)
    for task in (going_on, other):
        task.cancel()
    await asyncio.wait([going_on, other])
    assert turns._free == 1
    await asyncio.wait_for(_note(turns, "next", order), _PATIENCE)


async def test_who_gives_up_while_going_on_leaves_no_turn_too_many_to_those_who_wait() -> None:
    turns, order = Turns(1), list[str]()
    going_on, other = await _one_goes_on_beside_another(turns)
    third = asyncio.create_task(_note(turns, "third", order))
    await _until_waiting(turns, 2)
    going_on.cancel()
    await asyncio.wait([going_on])
    await asyncio.sleep(0.01)
    assert order == []
    other.cancel()
    await asyncio.wait_for(third, _PATIENCE)
    assert turns._free == 1


async def _held(turns: Turns) -> None:
    async with turns.turn():
        await asyncio.Event().wait()
