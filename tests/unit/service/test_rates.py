import pytest

from service.rates import ServiceRate, TokenBuckets


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_rate_is_cost_a_second_of_work(clock: Clock) -> None:
    rate = ServiceRate(clock=clock)
    rate.record(cost=10.0, seconds=2.0)
    rate.record(cost=20.0, seconds=1.0)
    assert rate.per_second == pytest.approx(10.0)


def test_time_without_work_does_not_count_against_the_rate(clock: Clock) -> None:
    rate = ServiceRate(clock=clock)
    rate.record(cost=10.0, seconds=2.0)
    clock.now += 100_000.0
    assert rate.per_second == pytest.approx(5.0)


def test_what_was_measured_a_half_life_ago_counts_half(clock: Clock) -> None:
    rate = ServiceRate(half_life=60.0, clock=clock)
    rate.record(cost=8.0, seconds=2.0)
    clock.now += 60.0
    rate.record(cost=2.0, seconds=2.0)
    assert rate.per_second == pytest.approx((4.0 + 2.0) / (1.0 + 2.0))


def test_a_queue_of_given_cost_gives_the_seconds_to_come_back_rounded_up(clock: Clock) -> None:
    rate = ServiceRate(clock=clock)
    rate.record(cost=10.0, seconds=4.0)
    assert [rate.retry_after(waiting) for waiting in (5.0, 5.1, 25.0)] == [2, 3, 10]


def test_retry_after_is_never_zero_nor_more_than_ten_minutes(clock: Clock) -> None:
    rate = ServiceRate(clock=clock)
    rate.record(cost=10.0, seconds=1.0)
    assert (rate.retry_after(0.0), rate.retry_after(1e12)) == (1, 600)


def test_before_anything_was_measured_retry_after_is_a_guess(clock: Clock) -> None:
    rate = ServiceRate(clock=clock)
    assert (rate.per_second, rate.retry_after(1e6)) == (None, 2)
    rate.record(cost=5.0, seconds=0.0)
    assert rate.per_second is None


def test_a_key_may_burst_and_then_go_on_at_its_rate(clock: Clock) -> None:
    buckets = TokenBuckets(clock)
    assert [buckets.take("a", per_second=0.5, burst=3) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", per_second=0.5, burst=3) == pytest.approx(2.0)
    clock.now += 1.5
    assert buckets.take("a", per_second=0.5, burst=3) == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a", per_second=0.5, burst=3) == 0.0


def test_a_bucket_holds_no_more_than_its_burst(clock: Clock) -> None:
    buckets = TokenBuckets(clock)
    buckets.take("a", per_second=1.0, burst=2)
    clock.now += 1e6
    assert [buckets.take("a", per_second=1.0, burst=2) == 0.0 for _ in range(3)] == [True, True, False]


def test_one_key_does_not_use_up_anothers_tokens(clock: Clock) -> None:
    buckets = TokenBuckets(clock)
    assert buckets.take("a", per_second=1.0, burst=1) == 0.0
    assert buckets.take("b", per_second=1.0, burst=1) == 0.0
    assert buckets.take("a", per_second=1.0, burst=1) > 0.0


def test_the_keys_remembered_are_bounded_and_the_busiest_stay(clock: Clock) -> None:
    buckets = TokenBuckets(clock)
    for number in range(10_000):
        buckets.take(number, per_second=1.0, burst=1)
        assert buckets.take("busy", per_second=1e-6, burst=1) > 0.0 or number == 0
    assert len(buckets._buckets) <= 4096


@pytest.mark.parametrize(("per_second", "burst"), [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (1.0, 0.5)])
def test_a_rate_by_which_no_token_comes_is_refused(clock: Clock, per_second: float, burst: float) -> None:
    with pytest.raises(ValueError, match="a rate is above 0"):
        TokenBuckets(clock).take("a", per_second, burst)
