"""How long requests wait for a busy or absent service, all of them together."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from cli.common.errors import CommandError

_LONGEST_WAIT, _SHORTEST_WAIT, _USUAL_WAIT = 60.0, 0.1, 2.0


class Gate:
    """Holds requests back while the service is busy or away. Times are seconds of the monotonic clock."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._opens = 0.0
        self._since: dict[float, float] = {}

    async def passed(self) -> None:
        """Wait until the gate is open."""
        while (left := self._opens - time.monotonic()) > 0:  # noqa: ASYNC110 - the gate may close for longer during the sleep
            await asyncio.sleep(left)

    def open(self) -> None:
        """Note that a recording got its answer, which ends every wait."""
        if self._since:
            self._since.clear()
            self._note("")

    def close(self, seconds: float, bound: float, why: str, last: bool) -> None:
        """Hold requests back for these seconds.

        Raises `CommandError` if the wait would end more than `bound` seconds after the first one since the last answer,
        and this is the `last` request, so that no other request can still succeed.
        """
        now = time.monotonic()
        since = self._since.setdefault(bound, now)
        if last and now + seconds - since > bound:
            raise CommandError(f"{why}; gave up after {bound:g} s")
        self._opens = max(self._opens, now + seconds)
        self._note(f"{why}; waiting {seconds:.0f} s")


def retry_after(answer: httpx.Response) -> float:
    """Return the seconds until the next try, from 0.1 to 60: Retry-After as a number or a date, else 2."""
    said = answer.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            seconds = _USUAL_WAIT
    return min(_LONGEST_WAIT, max(_SHORTEST_WAIT, seconds))
