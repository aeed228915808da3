"""Logs are one line each, as text or JSON, with the id of their request."""

import json
import logging
import sys
from typing import Any, Literal

import pytest
from structlog.contextvars import bound_contextvars

from service.monitoring.logs import log_formatter, set_up_logs
from service.settings import LogSettings


def record(message: str, *arguments: object, failed: bool = False, **extra: Any) -> logging.LogRecord:
    secret = "drcap_secret"  # noqa: S105
    try:
        raise ValueError(f"a value of {len(secret)}")
    except ValueError:
        error = sys.exc_info() if failed else None
    made = logging.LogRecord("service.jobs", logging.WARNING, "jobs.py", 1, message, arguments, error)
    vars(made).update(extra)
    return made


def written(format: Literal["text", "json"], made: logging.LogRecord) -> str:
    return log_formatter(LogSettings(format=format)).format(made)


def test_a_line_of_json_has_what_was_said_and_what_is_known_of_the_request() -> None:
    with bound_contextvars(request_id="abc"):
        line = written("json", record("job %s is done", "j1", status=200, key=None))
    assert "\n" not in line
    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "event": "job j1 is done",
        "level": "warning",
        "logger": "service.jobs",
        "request_id": "abc",
        "status": 200,
        "key": None,
    }


def test_text_has_the_same() -> None:
    with bound_contextvars(request_id="abc"):
        line = written("text", record("job %s is done", "j1", status=200))
    for part in ("warning", "job j1 is done", "service.jobs", "request_id=abc", "status=200"):
        assert part in line


def test_outside_a_request_there_is_no_id() -> None:
    assert "request_id" not in json.loads(written("json", record("ready")))


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_error_is_traced_without_the_values_of_variables(format: Literal["text", "json"]) -> None:
    line = written(format, record("it failed", failed=True))
    assert "ValueError: a value of 12" in line
    assert "Traceback" in line
    assert "drcap_secret" not in line


def test_a_message_that_quotes_a_client_stays_one_line() -> None:
    quoted = record("the name is %s", "a\nb\r\n2026 [info] forged")
    assert len(written("text", quoted).splitlines()) == 1
    assert len(written("json", quoted).splitlines()) == 1


def test_a_message_of_uvicorn_is_not_said_twice() -> None:
    assert "color_message" not in written("json", record("started", color_message="\x1b[1mstarted"))


def test_the_level_is_of_our_own_and_others_speak_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("uvicorn.access").addHandler(logging.StreamHandler(sys.stderr))
    set_up_logs(LogSettings(format="json", level="info"))
    for name in ("service.jobs", "uvicorn.error", "httpx", "uvicorn.access"):
        logging.getLogger(name).info("said by %s", name)
    logging.getLogger("service.jobs").debug("too little to say")
    logging.getLogger("httpx").warning("warned")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["said by service.jobs", "said by uvicorn.error", "warned"]
