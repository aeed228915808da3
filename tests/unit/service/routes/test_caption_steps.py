import math

import numpy as np
import pytest
from starlette.requests import Request

from service.audio.decoding import Recording
from service.http.deadlines import HEADER, Deadline
from service.routes.caption_steps import due_for
from service.settings import TimeoutSettings

LIMITS = TimeoutSettings(caption_seconds=120.0)
FIRST = Deadline(1000.0 + 120.0, 120.0, "DRCAP_TIMEOUTS__CAPTION_SECONDS")


def asking(timeout: str | None) -> Request:
    headers = [] if timeout is None else [(HEADER.lower().encode(), timeout.encode())]
    return Request({"type": "http", "method": "POST", "path": "/caption", "headers": headers})


def lasting(seconds: float) -> Recording:
    return Recording(np.zeros(1, np.float32), 16_000, seconds)


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 120.0), (60.0, 150.0), (600.0, 420.0)])
def test_a_longer_recording_is_due_later(seconds: float, expected: float) -> None:
    due = due_for(FIRST, asking(None), lasting(seconds), LIMITS)
    assert due.seconds == expected
    assert due.at == 1000.0 + expected
    assert due.source == "DRCAP_TIMEOUTS__CAPTION_SECONDS and 30 s for each minute of audio"


def test_what_the_client_asks_for_still_counts() -> None:
    first = Deadline(1005.0, 5.0, HEADER)
    due = due_for(first, asking("5"), lasting(600.0), LIMITS)
    assert (due.at, due.seconds, due.source) == (1005.0, 5.0, HEADER)
    more = due_for(FIRST, asking("300"), lasting(600.0), LIMITS)
    assert (more.seconds, more.source) == (300.0, HEADER)
    assert math.isclose(more.at, 1300.0)
