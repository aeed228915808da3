"""The batcher with a model of a few lines, whose batches a test can hold up."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching.batcher import Batcher
from service.batching.queue import BatcherClosed, BatchQueue, Expired, Priority, QueuedItem, QueueFull
from service.batching.runner import BatchWork, Gone, Limits, MemoryExhausted
from service.batching.worker import WorkerDied

_PATIENCE = 60.0  # real seconds after which a test has hung


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Model:
    """Doubles numbers. `trouble` may raise for a batch; while `open` is cleared, batches are held up."""

    trouble: Callable[[Sequence[int]], None] = lambda _: None
    batches: list[list[int]] = field(default_factory=list)
    done: Counter[int] = field(default_factory=Counter)
    left: list[int] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.open.set()

    def run(self, batch: Sequence[int], gone: Gone) -> list[int]:
        self.batches.append(list(batch))
        self.entered.release()
        assert self.open.wait(_PATIENCE)
        self.trouble(batch)
        self.left += [item for index, item in enumerate(batch) if gone(index)]
        self.done.update(batch)
        return [2 * item for item in batch]

    async def running(self) -> None:
        """Until the next batch has begun."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=_PATIENCE)


@dataclass
class Counts:
    depths: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    runs: list[tuple[int, float, float]] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)
    restarts: int = 0

    def depth(self, items: int) -> None:
        self.depths.append(items)

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def ran(self, items: int, cost: float, seconds: float) -> None:
        self.runs.append((items, cost, seconds))

    def retried(self, reason: str) -> None:
        self.retries.append(reason)

    def restarted(self) -> None:
        self.restarts += 1


@dataclass
class Bench:
    batcher: Batcher[int, int]
    model: Model
    clock: Clock
    counts: Counts

    async def hold(self) -> "asyncio.Task[list[int]]":
        """Keep the model busy with item 0."""
        self.model.open.clear()
        task = self.start([0])
        await self.model.running()
        return task

    def start(
        self, items: Sequence[int], priority: Priority = Priority.INTERACTIVE, deadline: float = 1e9
    ) -> "asyncio.Task[list[int]]":
        return asyncio.create_task(self.batcher.run(items, priority=priority, deadline=deadline))


@asynccontextmanager
async def serving(batcher: Batcher[int, int]) -> AsyncIterator[Batcher[int, int]]:
    """The batcher from its start to its close."""
    await batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close()


@asynccontextmanager
async def bench(
    trouble: Callable[[Sequence[int]], None] = lambda _: None,
    *,
    cost: Callable[[int], float] = lambda _: 1.0,
    key: Callable[[int], object] = lambda _: None,
    max_cost: float = 100.0,
    max_count: int = 100,
    capacity: int = 1000,
) -> AsyncIterator[Bench]:
    model, clock, counts = Model(trouble), Clock(), Counts()
    work = BatchWork(model.run, cost, lambda item: hash(key(item)))
    limits = Limits(max_cost, max_count, capacity, patience=10.0, recovery=60.0)
    async with asyncio.timeout(_PATIENCE), serving(Batcher("model", work, limits, counts, clock)) as batcher:
        try:
            yield Bench(batcher, model, clock, counts)
        finally:
            model.open.set()


async def tick() -> None:
    """Let everything in the event loop go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_lone_item_does_not_wait_for_company() -> None:
    async with bench() as b:
        assert await b.batcher.run([4]) == [8]
        assert b.model.batches == [[4]]
        assert b.counts.runs == [(1, 1.0, 0.0)]


async def test_what_arrives_while_the_model_is_busy_shares_the_next_batch() -> None:
    async with bench() as b:
        first = await b.hold()
        others = [b.start([n]) for n in (1, 2, 3)]
        await tick()
        b.clock.now += 5.0
        b.model.open.set()
        assert await asyncio.gather(first, *others) == [[0], [2], [4], [6]]
        assert b.model.batches == [[0], [1, 2, 3]]
        assert b.counts.waits == [0.0, 5.0, 5.0, 5.0]
        assert max(b.counts.depths) == 3
        assert b.counts.depths[-1] == 0


async def test_what_leaves_while_it_waits_is_not_counted_as_waiting() -> None:
    async with bench() as b:
        first = await b.hold()
        leaves = b.start([1, 2])
        await tick()
        assert b.counts.depths[-1] == 2
        leaves.cancel()
        await tick()
        assert b.counts.depths[-1] == 0
        b.model.open.set()
        assert await first == [0]


@pytest.mark.parametrize(
    ("bounds", "batches"),
    [
        ({"max_count": 2}, [[0], [5, 6], [7]]),
        ({"max_cost": 13.0}, [[0], [5, 6], [7]]),
        ({"max_cost": 4.0}, [[0], [5], [6], [7]]),
    ],
)
async def test_a_batch_closes_on_count_and_on_cost(bounds: dict[str, int], batches: list[list[int]]) -> None:
    async with bench(cost=float, **bounds) as b:  # type: ignore[arg-type]
        await b.hold()
        rest = b.start([5, 6, 7])
        await tick()
        b.model.open.set()
        assert await rest == [10, 12, 14]
        assert b.model.batches == batches


async def test_a_batch_is_sorted_by_length_and_results_come_in_the_order_of_items() -> None:
    async with bench(cost=float) as b:
        assert await b.batcher.run([9, 3, 6]) == [18, 6, 12]
        assert b.model.batches == [[3, 6, 9]]


async def test_items_of_different_keys_never_share_a_batch() -> None:
    async with bench(key=lambda item: item % 2) as b:
        assert await b.batcher.run([1, 2, 3, 4]) == [2, 4, 6, 8]
        assert b.model.batches == [[1, 3], [2, 4]]


async def test_interactive_items_go_before_a_job() -> None:
    async with bench(max_count=1) as b:
        await b.hold()
        job = b.start([1], Priority.JOB)
        await tick()
        b.clock.now += 9.0
        person = b.start([2])
        await tick()
        b.clock.now += 2.0
        late = b.start([3])
        await tick()
        b.model.open.set()
        await asyncio.gather(job, person, late)
        assert b.model.batches == [[0], [2], [1], [3]]


async def test_a_job_waits_for_room_and_takes_none_from_people() -> None:
    async with bench(capacity=2) as b:
        await b.hold()
        jobs = [b.start(range(10, 15), Priority.JOB) for _ in range(3)]
        await tick()
        person = b.start([1, 2])
        await tick()
        b.model.open.set()
        assert await person == [2, 4]
        assert await asyncio.gather(*jobs) == [[20, 22, 24, 26, 28]] * 3


async def test_a_full_queue_refuses_at_once_and_tells_when_to_come_back() -> None:
    async with bench(capacity=4, cost=lambda _: 3.0) as b:
        b.batcher.rate.record(cost=1.0, seconds=2.0)
        first = await b.hold()
        waiting = b.start([1, 2, 3])
        await tick()
        with pytest.raises(QueueFull, match="3 items wait for model") as refused:
            await b.batcher.run([4, 5])
        assert refused.value.retry_after == 18
        b.model.open.set()
        assert (await first, await waiting) == ([0], [2, 4, 6])
        assert b.model.done == Counter(range(4))


async def test_a_call_larger_than_the_queue_is_let_in_when_nothing_waits() -> None:
    async with bench(capacity=2) as b:
        assert await b.batcher.run(range(7)) == [0, 2, 4, 6, 8, 10, 12]


async def test_clients_that_left_take_no_room() -> None:
    async with bench(capacity=2) as b:
        await b.hold()
        leaving = b.start([1, 2])
        await tick()
        leaving.cancel()
        await tick()
        staying = b.start([3, 4])
        await tick()
        b.model.open.set()
        assert await staying == [6, 8]
        assert b.model.batches == [[0], [3, 4]]


async def test_one_bad_item_fails_alone() -> None:
    def trouble(batch: Sequence[int]) -> None:
        if 5 in batch:
            raise ValueError("five")

    async with bench(trouble) as b:
        await b.hold()
        calls = [b.start([n]) for n in range(1, 9)]
        await tick()
        b.model.open.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [a for n, a in enumerate(answers, 1) if n != 5] == [[2 * n] for n in range(1, 9) if n != 5]
        assert isinstance(answers[4], ValueError)
        assert len(b.model.batches) <= 1 + 1 + 2 * 3
        assert set(b.model.done.values()) == {1}
        assert b.counts.retries == ["error"] * 3


async def test_a_model_that_always_fails_is_tried_a_bounded_number_of_times() -> None:
    def trouble(batch: Sequence[int]) -> None:
        raise StopIteration  # an error that a future would not take

    async with bench(trouble) as b:
        calls = [b.start([n]) for n in range(8)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, RuntimeError) for answer in answers)
        assert len(b.model.batches) == 15


async def test_an_error_drops_the_rest_of_its_call() -> None:
    def trouble(batch: Sequence[int]) -> None:
        if 1 in batch:
            raise ValueError("one")

    async with bench(trouble, max_count=1) as b:
        with pytest.raises(ValueError, match="one"):
            await b.batcher.run([1, 2, 3, 4])
        assert await b.batcher.run([7]) == [14]
        assert b.model.done[3] == b.model.done[4] == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
async def test_out_of_memory_halves_the_batch_and_is_remembered_for_a_while(error: Exception) -> None:
    def trouble(batch: Sequence[int]) -> None:
        if len(batch) > 4:
            raise error

    async with bench(trouble) as b:
        assert await b.batcher.run(range(8)) == [2 * n for n in range(8)]
        assert b.counts.retries == ["memory"]
        assert [len(batch) for batch in b.model.batches] == [8, 4, 4]
        await b.batcher.run(range(8))
        assert [len(batch) for batch in b.model.batches[3:]] == [4, 4]
        b.clock.now += 61.0
        await b.batcher.run(range(8))
        assert [len(batch) for batch in b.model.batches[5:]] == [8, 4, 4]


async def test_an_item_that_no_memory_suffices_for_is_told_so_and_spares_the_others() -> None:
    def trouble(batch: Sequence[int]) -> None:
        if 3 in batch:
            raise RuntimeError("CUDA out of memory. Tried to allocate")

    async with bench(trouble) as b:
        spared = b.start([1, 2])
        with pytest.raises(MemoryExhausted, match="does not suffice"):
            await b.batcher.run([3])
        assert await spared == [2, 4]


async def test_a_dead_worker_is_replaced_and_what_killed_it_fails_alone() -> None:
    def trouble(batch: Sequence[int]) -> None:
        if 3 in batch:
            raise SystemExit(1)

    async with bench(trouble) as b:
        calls = [b.start([n]) for n in range(1, 6)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [answers[n] for n in (0, 1, 3, 4)] == [[2], [4], [8], [10]]
        assert isinstance(answers[2], WorkerDied)
        assert b.counts.restarts == 2
        assert b.counts.retries == ["death"]
        assert await b.batcher.run([8]) == [16]
        assert b.batcher.stalled() == 0


async def test_a_worker_that_dies_once_costs_nobody_an_answer() -> None:
    deaths = iter([KeyboardInterrupt()])

    def trouble(batch: Sequence[int]) -> None:
        if death := next(deaths, None):
            raise death

    async with bench(trouble) as b:
        assert await b.batcher.run([1, 2, 3]) == [2, 4, 6]
        assert b.counts.restarts == 1


async def test_a_client_that_left_is_dropped_before_the_batch() -> None:
    async with bench() as b:
        first = await b.hold()
        leaving, staying = b.start([1]), b.start([2])
        await tick()
        leaving.cancel()
        await tick()
        b.model.open.set()
        assert (await first, await staying) == ([0], [4])
        assert b.model.batches == [[0], [2]]


async def test_the_model_is_told_of_clients_that_leave_while_it_runs() -> None:
    async with bench() as b:
        b.model.open.clear()
        leaving, staying = b.start([1]), b.start([2])
        await b.model.running()
        leaving.cancel()
        await tick()
        b.model.open.set()
        assert await staying == [4]
        assert b.model.left == [1]


async def test_what_expires_while_it_waits_is_not_run() -> None:
    async with bench() as b:
        await b.hold()
        late = b.start([1], deadline=b.clock.now + 3)
        await tick()
        b.clock.now += 3
        b.model.open.set()
        with pytest.raises(Expired):
            await late
        assert b.model.batches == [[0]]


async def test_what_expires_while_it_runs_is_told_to_the_model_and_never_answered() -> None:
    async with bench() as b:
        b.model.open.clear()
        late, other = b.start([1], deadline=b.clock.now + 3), b.start([2])
        await b.model.running()
        b.clock.now += 3
        b.model.open.set()
        with pytest.raises(Expired):
            await late
        assert await other == [4]
        assert b.model.left == [1]


async def test_a_worker_without_progress_is_seen() -> None:
    async with bench() as b:
        b.clock.now += 50
        assert b.batcher.stalled() == 0
        held = await b.hold()
        b.clock.now += 30
        assert b.batcher.stalled() == 30
        b.model.open.set()
        await held
        assert b.batcher.stalled() == 0


async def test_asking_who_is_gone_is_progress() -> None:
    clock, seen = Clock(), []

    def run(batch: Sequence[int], gone: Gone) -> Sequence[int]:
        for _ in batch:
            clock.now += 20
            gone(0)
            seen.append(batcher.stalled())
        return batch

    async with (
        asyncio.timeout(_PATIENCE),
        serving(Batcher("m", BatchWork(run, float), Limits(9, 9, 9), None, clock)) as batcher,
    ):
        await batcher.run([1, 2, 3])
    assert seen == [0, 0, 0]


async def test_closing_leaves_nobody_waiting_and_lets_nothing_in() -> None:
    async with bench() as b:
        first = await b.hold()
        waiting, job, outside = b.start([1]), b.start([2], Priority.JOB), b.start([3], Priority.JOB)
        await tick()
        await b.batcher.close()
        answers = await asyncio.gather(first, waiting, job, outside, return_exceptions=True)
        assert [type(answer) for answer in answers] == [BatcherClosed] * 4
        with pytest.raises(BatcherClosed):
            await b.batcher.run([4])


async def test_a_wrong_number_of_results_is_an_error_and_not_a_mix_up() -> None:
    def run(batch: Sequence[int], _: Gone) -> Sequence[int]:
        return [*batch, 0]

    async with asyncio.timeout(_PATIENCE), serving(Batcher("m", BatchWork(run, float), Limits(9, 9, 9))) as batcher:
        with pytest.raises(RuntimeError, match="1 items gave 2 results"):
            await batcher.run([1])


async def test_an_observer_that_raises_leaves_nobody_waiting() -> None:
    async with bench() as b:
        b.counts.runs = None  # type: ignore[assignment]
        with pytest.raises(AttributeError):
            await b.batcher.run([1])
        b.counts.runs = []
        assert await b.batcher.run([2]) == [4]


async def test_an_item_without_a_cost_lets_nothing_of_its_call_in() -> None:
    def cost(item: int) -> float:
        if item == 3:
            raise TypeError("no cost")
        return 1.0

    async with bench(cost=cost) as b:
        with pytest.raises(TypeError, match="no cost"):
            await b.batcher.run([1, 2, 3])
        assert await b.batcher.run([4]) == [8]
        assert b.model.batches == [[4]]


async def test_no_items_are_no_work() -> None:
    async with bench() as b:
        assert await b.batcher.run([]) == []
        assert b.model.batches == []


@given(st.lists(st.tuples(st.floats(0, 50), st.booleans()), min_size=1, max_size=30))
async def test_no_job_is_overtaken_by_what_came_later_than_its_patience(arrivals: list[tuple[float, bool]]) -> None:
    queue: BatchQueue[int, int] = BatchQueue(patience=10.0)
    loop = asyncio.get_running_loop()
    for number, (at, job) in enumerate(arrivals):
        priority = Priority.JOB if job else Priority.INTERACTIVE
        queue.put(QueuedItem(number, None, 1.0, loop.create_future(), priority, at))
    served = []
    while batch := queue.take(100.0, 1, 100.0):
        served += batch
    assert len(served) == len(arrivals)
    for place, later in enumerate(served):
        for earlier in served[:place]:
            if later.priority is Priority.JOB:
                assert earlier.arrived <= later.arrived + 10.0
            else:
                assert earlier.arrived <= later.arrived


# What an item does to the model: nothing, fails it, is too much in a batch, kills its thread once or always.
_OK, _BAD, _HEAVY, _KILLS_ONCE, _KILLS = range(5)


@dataclass(frozen=True)
class Call:
    kinds: tuple[int, ...]
    after: int
    job: bool
    leaves_after: int | None
    expires_after: int | None


_CALLS = st.lists(
    st.builds(
        Call,
        kinds=st.lists(st.sampled_from([_OK] * 6 + [_BAD, _HEAVY, _KILLS_ONCE, _KILLS]), min_size=1, max_size=5).map(
            tuple
        ),
        after=st.integers(0, 6),
        job=st.booleans(),
        leaves_after=st.none() | st.integers(0, 8),
        expires_after=st.none() | st.integers(0, 8),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(calls=_CALLS, max_count=st.integers(1, 6), capacity=st.integers(1, 20))
async def test_whatever_happens_every_call_ends_once_and_nothing_runs_twice_after_success(
    calls: list[Call], max_count: int, capacity: int
) -> None:
    kinds = [kind for call in calls for kind in call.kinds]
    killed: set[int] = set()

    def trouble(batch: Sequence[int]) -> None:
        for item in batch:
            if kinds[item] == _BAD:
                raise ValueError(item)
            if kinds[item] == _HEAVY and len(batch) > 1:
                raise MemoryError
            if kinds[item] == _KILLS or (kinds[item] == _KILLS_ONCE and item not in killed):
                killed.add(item)
                raise SystemExit

    # A future that is resolved a second time tells only the event loop.
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    async with bench(
        trouble,
        cost=lambda item: 1.0 + item % 3,
        key=lambda item: item % 2,
        max_cost=8.0,
        max_count=max_count,
        capacity=capacity,
    ) as b:

        async def one(first: int, call: Call) -> list[int]:
            for _ in range(call.after):
                await asyncio.sleep(0)
                b.clock.now += 0.25
            deadline = 1e9 if call.expires_after is None else b.clock.now + call.expires_after
            priority = Priority.JOB if call.job else Priority.INTERACTIVE
            task = b.start(range(first, first + len(call.kinds)), priority, deadline)
            if call.leaves_after is not None:
                for _ in range(call.leaves_after):
                    await asyncio.sleep(0)
                task.cancel()
            return await task

        firsts = [sum(len(call.kinds) for call in calls[:n]) for n in range(len(calls))]
        tasks = [asyncio.create_task(one(first, call)) for first, call in zip(firsts, calls, strict=True)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        while b.batcher._unresolved:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        assert unheard == []

    assert max(b.model.done.values(), default=0) <= 1
    for first, call, answer in zip(firsts, calls, answers, strict=True):
        if isinstance(answer, list):
            assert answer == [2 * item for item in range(first, first + len(call.kinds))]
        harmless = set(call.kinds) <= {_OK, _HEAVY}
        if harmless and call.leaves_after is None and call.expires_after is None:
            assert isinstance(answer, list | QueueFull)


@asynccontextmanager
async def two_replicas(trouble: Callable[[Sequence[int]], None] = lambda _: None) -> AsyncIterator[tuple[Bench, Model]]:
    """A bench whose model has a second replica, returned beside it."""
    clock, counts = Clock(), Counts()
    first, second = Model(trouble), Model(trouble)
    work = BatchWork(first.run, lambda _: 1.0, replicas=[second.run])
    async with serving(Batcher("numbers", work, Limits(100.0, 8, 1000), counts, clock)) as batcher:
        yield Bench(batcher, first, clock, counts), second


async def test_replicas_share_what_waits_and_run_it_at_the_same_time() -> None:
    async with two_replicas() as (bench, second):
        bench.model.open.clear()
        second.open.clear()
        task = bench.start([1, 2, 3, 4, 5])
        await bench.model.running()
        await second.running()
        assert sorted(map(len, (*bench.model.batches, *second.batches))) == [2, 3]
        bench.model.open.set()
        second.open.set()
        assert await task == [2, 4, 6, 8, 10]


async def test_a_replica_alone_takes_all_that_waits_while_the_other_is_busy() -> None:
    async with two_replicas() as (bench, second):
        held = await bench.hold()
        assert await bench.start([1, 2, 3]) == [2, 4, 6]
        assert second.batches == [[1, 2, 3]]
        bench.model.open.set()
        assert await held == [0]


async def test_a_replica_that_dies_is_replaced_and_its_items_are_run_once_more() -> None:
    struck = threading.Event()

    def die_once(_: Sequence[int]) -> None:
        if not struck.is_set():
            struck.set()
            raise SystemExit

    async with two_replicas(die_once) as (bench, _):
        assert await bench.start([1, 2, 3, 4]) == [2, 4, 6, 8]
        assert bench.counts.restarts == 1
        assert await bench.start([5, 6, 7]) == [10, 12, 14]


async def test_what_waits_is_worked_off_by_all_replicas_together() -> None:
    async with two_replicas() as (bench, second):
        bench.batcher.rate.record(10.0, 10.0)
        bench.model.open.clear()
        second.open.clear()
        running = bench.start([0, 1])
        await bench.model.running()
        await second.running()
        waiting = bench.start(list(range(2, 22)))
        await asyncio.sleep(0)
        assert bench.batcher.retry_after() == 10
        bench.model.open.set()
        second.open.set()
        await asyncio.gather(running, waiting)
