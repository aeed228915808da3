"""Measures the rate of the service and limits the rate of a caller. Times are seconds of a monotonic clock."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

_SOONEST = 1
_LATEST = 600
_REMEMBERED = 4096

Clock = Callable[[], float]

RETRY_AFTER_SECONDS = 2
"""Value of `Retry-After` before a rate is known."""


class ServiceRate:
    """Mean cost processed in a second of work. A measurement counts half after each half-life.

    Idle time is not counted: the rate estimates the capacity, not the load.
    """

    def __init__(self, half_life: float = 60.0, clock: Clock = time.monotonic) -> None:
        """
        Args:
            half_life: seconds after which a measurement counts half.
            clock: monotonic seconds.
        """
        self._half_life = half_life
        self._clock = clock
        self._cost = 0.0
        self._seconds = 0.0
        self._at = clock()

    def record(self, cost: float, seconds: float) -> None:
        """Record a batch of this cost that took this many seconds."""
        now = self._clock()
        kept = 0.5 ** ((now - self._at) / self._half_life)
        self._cost = self._cost * kept + cost
        self._seconds = self._seconds * kept + seconds
        self._at = now

    @property
    def per_second(self) -> float | None:
        """Return the cost processed in a second; None before the first measurement."""
        if self._cost <= 0 or self._seconds <= 0:
            return None
        return self._cost / self._seconds

    def retry_after(self, waiting: float) -> int:
        """Return seconds until the waiting cost has been processed, as a whole number from 1 to 600.

        Before the first measurement it is `RETRY_AFTER_SECONDS`.
        """
        rate = self.per_second
        seconds = RETRY_AFTER_SECONDS if rate is None else waiting / rate
        return min(_LATEST, max(_SOONEST, math.ceil(seconds)))


@dataclass
class _Bucket:
    tokens: float
    filled: float


class TokenBuckets:
    """Keeps one bucket of tokens for each key: full at first, refilled at a steady rate, emptied by requests."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, key: Hashable, per_second: float, burst: float) -> float:
        """Take one token of a key.

        Args:
            key: the caller.
            per_second: tokens added in a second, above 0.
            burst: tokens of a full bucket, at least 1.

        Returns:
            0 if a token was taken, otherwise the seconds until there is one.

        Raises:
            ValueError: the rate or the burst is too small for a token.
        """
        if not per_second > 0 or not burst >= 1:
            raise ValueError(f"a rate is above 0 and a burst at least 1, got {per_second} and {burst}")
        now = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(burst, now)
        self._buckets[key] = bucket
        # The key that asked longest ago is forgotten: its bucket is the likeliest to be full.
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.filled) * per_second)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / per_second
        bucket.tokens -= 1
        return 0.0
