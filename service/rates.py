"""Rates: how fast the service works, and how fast one caller may ask. Times are of a monotonic clock."""

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
    """Cost worked off a second of work: a mean in which what was measured a half-life ago counts half.

    Time without work is not counted, so the estimate is of the capacity and not of the load.
    """

    def __init__(self, half_life: float = 60.0, clock: Clock = time.monotonic) -> None:
        """
        Args:
            half_life: seconds.
            clock: monotonic seconds.
        """
        self._half_life = half_life
        self._clock = clock
        self._cost = 0.0
        self._seconds = 0.0
        self._at = clock()

    def record(self, cost: float, seconds: float) -> None:
        """A batch of this cost took so many seconds."""
        now = self._clock()
        kept = 0.5 ** ((now - self._at) / self._half_life)
        self._cost = self._cost * kept + cost
        self._seconds = self._seconds * kept + seconds
        self._at = now

    @property
    def per_second(self) -> float | None:
        """Cost a second; none before anything was measured."""
        if self._cost <= 0 or self._seconds <= 0:
            return None
        return self._cost / self._seconds

    def retry_after(self, waiting: float) -> int:
        """Whole seconds for `Retry-After`, from 1 to 600: when the cost that waits will have been worked off.

        `RETRY_AFTER_SECONDS` before anything was measured.
        """
        rate = self.per_second
        seconds = RETRY_AFTER_SECONDS if rate is None else waiting / rate
        return min(_LATEST, max(_SOONEST, math.ceil(seconds)))


@dataclass
class _Bucket:
    tokens: float
    filled: float


class TokenBuckets:
    """A bucket of tokens a key: full at first, filled at a steady rate, emptied by requests."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, key: Hashable, per_second: float, burst: float) -> float:
        """Take one token of a key.

        Args:
            key: who asks.
            per_second: tokens that come in a second, above 0.
            burst: tokens a full bucket holds, at least 1.

        Returns:
            0 if there was one; else nothing is taken, and it is the seconds until there will be one.

        Raises:
            ValueError: a rate or burst by which no token would ever come.
        """
        if not per_second > 0 or not burst >= 1:
            raise ValueError(f"a rate is above 0 and a burst at least 1, got {per_second} and {burst}")
        now = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(burst, now)
        self._buckets[key] = bucket
        # Beyond this many keys the one that asked longest ago is forgotten: its bucket is the likeliest to be full.
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.filled) * per_second)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / per_second
        bucket.tokens -= 1
        return 0.0
