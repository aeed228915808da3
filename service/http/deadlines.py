"""Deadlines: how long a request may take. The client asks for a time, and a setting limits it."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from service.settings import TimeoutSettings, variable_name

HEADER = "X-Request-Timeout"
AUDIO_MINUTE_SECONDS = 30.0
"""Seconds by which each minute of a recording extends its deadline, because it has more parts to caption."""

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


def request_deadline(request: Request, kind: str, timeouts: TimeoutSettings) -> Deadline:
    """Return the deadline of a request that starts now, as its client asks and the setting ``kind_seconds`` limits.

    Raises `BadTimeout`.
    """
    setting = f"{kind}_seconds"
    return deadline_of(request.headers.get(HEADER), getattr(timeouts, setting), variable_name("timeouts", setting))


def due_for(first: Deadline, request: Request, duration: float, timeouts: TimeoutSettings) -> Deadline:
    """Return the deadline of a caption once its recording is decoded. A longer recording has a later deadline.

    Args:
        first: the deadline from the start of the request.
        request: the request; its `X-Request-Timeout` header still applies.
        duration: seconds of the recording.
        timeouts: the settings with the seconds for a request.
    """
    limit = timeouts.caption_seconds + AUDIO_MINUTE_SECONDS * duration / 60
    source = f"{variable_name('timeouts', 'caption_seconds')} and {AUDIO_MINUTE_SECONDS:g} s for each minute of audio"
    return deadline_of(request.headers.get(HEADER), limit, source, lambda: first.at - first.seconds)


def parse_timeout(value: str) -> float:
    """Parse an `X-Request-Timeout` header: digits, with or without a decimal point. Raises `BadTimeout`."""
    text = value.strip(" \t")
    if not _SECONDS.fullmatch(text):
        raise BadTimeout(f"{HEADER}: must be seconds as a decimal number like 2.5, got {text[:40]!r}")
    seconds = float(text)
    if seconds == 0:
        raise BadTimeout(f"{HEADER}: must be more than 0 seconds, got {text!r}")
    return seconds
