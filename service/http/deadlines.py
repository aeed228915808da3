"""Deadlines: how long a request may take. The client asks for a time, and a setting limits it."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

HEADER = "X-Request-Timeout"
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class BadTimeout(ValueError):
    """The header is not a number of seconds above 0; the message quotes it."""


@dataclass(frozen=True)
class Deadline:
    """The moment after which an answer is useless.

    Attributes:
        at: the moment, in monotonic seconds.
        seconds: seconds from the start of the request.
        source: the header or setting that determines it, for the message of a 504.
    """

    at: float
    seconds: float
    source: str

    def left(self, clock: Callable[[], float] = time.monotonic) -> float:
        """Return the remaining seconds; 0 after the deadline."""
        return max(0.0, self.at - clock())


def deadline_of(
    header: str | None, limit: float, setting: str, clock: Callable[[], float] = time.monotonic
) -> Deadline:
    """Return the deadline of a request that starts now.

    Args:
        header: the value of `X-Request-Timeout`; None if it is missing.
        limit: seconds of the setting, which are both the default and the largest time that the header can ask for.
        setting: name of the setting.
        clock: returns monotonic seconds.

    Raises:
        BadTimeout: the header is not a number of seconds above 0.
    """
    asked = math.inf if header is None else parse_timeout(header)
    seconds = min(asked, limit)
    return Deadline(clock() + seconds, seconds, HEADER if asked < limit else setting)


def parse_timeout(value: str) -> float:
    """Parse an `X-Request-Timeout` header: digits, with or without a decimal point. Raises `BadTimeout`."""
    text = value.strip(" \t")
    if not _SECONDS.fullmatch(text):
        raise BadTimeout(f"{HEADER}: must be seconds as a decimal number like 2.5, got {text[:40]!r}")
    seconds = float(text)
    if seconds == 0:
        raise BadTimeout(f"{HEADER}: must be more than 0 seconds, got {text!r}")
    return seconds
