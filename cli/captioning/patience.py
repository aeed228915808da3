"""Patience with a service: when it wants to be asked again, and for how long all requests wait together."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from cli.common.errors import CommandError

_LONGEST_WAIT, _SHORTEST_WAIT, _USUAL_WAIT = 60.0, 0.1, 2.0


class Gate:
    """Closed for a while when the service is busy or gone. Times are of the monotonic clock."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._opens = 0.0
        self._since: dict[float, float] = {}

    async def passed(self) -> None:
        """Wait while it is closed."""
        while (left := self._opens - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be closed for longer meanwhile
            await asyncio.sleep(left)

    def open(self) -> None:
        """A recording got its answer."""
        if self._since:
            self._since.clear()
            self._note("")

    def close(self, seconds: float, bound: float, why: str, last: bool) -> None:
        """Let nobody pass for so many seconds.

        Raises `CommandError` when that would be beyond `bound` seconds from the first time since a recording got its
        answer, and this is the `last` request: none of the others is still waited for.
        """
        now = time.monotonic()
        since = self._since.setdefault(bound, now)
        if last and now + seconds - since > bound:
            raise CommandError(f"{why}; gave up after {bound:g} s")
        self._opens = max(self._opens, now + seconds)
        self._note(f"{why}; waiting {seconds:.0f} s")


def retry_after(answer: httpx.Response) -> float:
    """Seconds until the service wants to be asked again: its header, a number or a date, within bounds."""
    said = answer.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            seconds = _USUAL_WAIT
    return min(_LONGEST_WAIT, max(_SHORTEST_WAIT, seconds))
