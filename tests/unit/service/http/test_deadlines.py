import math

import pytest
from starlette.requests import Request

from service.http.deadlines import HEADER, BadTimeout, Deadline, deadline_of, due_for, parse_timeout
from service.settings import TimeoutSettings

LIMITS = TimeoutSettings(caption_seconds=120.0)
FIRST = Deadline(1000.0 + 120.0, 120.0, "DRCAP_TIMEOUTS__CAPTION_SECONDS")


def asking(timeout: str | None) -> Request:
    headers = [] if timeout is None else [(HEADER.lower().encode(), timeout.encode())]
    return Request({"type": "http", "method": "POST", "path": "/caption", "headers": headers})


def test_without_a_header_the_setting_counts() -> None:
    assert deadline_of(None, 120.0, "DRCAP_X", lambda: 10.0) == Deadline(130.0, 120.0, "DRCAP_X")


def test_a_client_can_ask_for_less_time() -> None:
    assert deadline_of("2.5", 120.0, "DRCAP_X", lambda: 10.0) == Deadline(12.5, 2.5, HEADER)


def test_a_client_cannot_ask_for_more_time_than_the_setting() -> None:
    assert deadline_of("3600", 120.0, "DRCAP_X", lambda: 10.0) == Deadline(130.0, 120.0, "DRCAP_X")


def test_what_is_left_ends_at_nothing() -> None:
    deadline = Deadline(130.0, 120.0, "DRCAP_X")
    moments = iter([10.0, 129.5, 130.0, 500.0])
    assert [deadline.left(lambda: next(moments)) for _ in range(4)] == [120.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(("value", "seconds"), [("1", 1.0), (" 0.25\t", 0.25), ("007", 7.0), ("0.000000001", 1e-9)])
def test_seconds_are_digits_with_or_without_a_point(value: str, seconds: float) -> None:
    assert parse_timeout(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "-1",
        "+1",
        "1s",
        "1_000",
        "1e3",
        "0x10",
        ".5",
        "5.",
        "nan",
        "inf",
        "5, 6",
        "1\n",
        "٣",
        "9" * 400,
    ],
)
def test_what_is_no_number_of_seconds_is_refused_and_shown(value: str) -> None:
    with pytest.raises(BadTimeout, match=f"^{HEADER}: must be seconds as a decimal number") as refused:
        parse_timeout(value)
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize("value", ["0", "0.0", "000.000"])
def test_no_time_at_all_is_refused(value: str) -> None:
    with pytest.raises(BadTimeout, match="must be more than 0 seconds"):
        parse_timeout(value)


def test_a_deadline_is_not_made_of_a_bad_header() -> None:
    with pytest.raises(BadTimeout, match="'five'"):
        deadline_of("five", 120.0, "DRCAP_X")


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 120.0), (60.0, 150.0), (600.0, 420.0)])
def test_a_longer_recording_is_due_later(seconds: float, expected: float) -> None:
    due = due_for(FIRST, asking(None), seconds, LIMITS)
    assert due.seconds == expected
    assert due.at == 1000.0 + expected
    assert due.source == "DRCAP_TIMEOUTS__CAPTION_SECONDS and 30 s for each minute of audio"


def test_what_the_client_asks_for_still_counts() -> None:
    first = Deadline(1005.0, 5.0, HEADER)
    due = due_for(first, asking("5"), 600.0, LIMITS)
    assert (due.at, due.seconds, due.source) == (1005.0, 5.0, HEADER)
    more = due_for(FIRST, asking("300"), 600.0, LIMITS)
    assert (more.seconds, more.source) == (300.0, HEADER)
    assert math.isclose(more.at, 1300.0)
