"""Logs: everything the process says, on stderr, one line each, as text or JSON, with the id of its request."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.settings import LogSettings

# Other packages speak up from warnings on: what they say below that is theirs to debug, and may show addresses or keys.
_OURS = ("cli", "service", "models", "datastores", "uvicorn")


def set_up_logs(settings: LogSettings) -> None:
    """Send the process's logs to stderr as the settings say; replaces what was set up before.

    uvicorn's own log of requests is silenced: `service.http.middleware.RequestContext` writes one line a request.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(settings))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(settings.level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    # `service.monitoring.trace_export` says once what the SDK says at every try. The line of a request says what is
    # wrong with its form.
    for name in ("opentelemetry", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def log_formatter(settings: LogSettings) -> logging.Formatter:
    """Formats records of the standard library, with the fields given as `extra`.

    Tracebacks are without the values of variables, among which a key could be.
    """
    if settings.format == "json":
        # No newline survives in JSON; sorted, so that lines are easy to compare.
        last: list[Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ]
    else:
        colours = sys.stderr.isatty()
        plain = structlog.dev.plain_traceback
        last = [_one_line, structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_colour,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A message may quote what a client sent; that must not look like another line."""
    event["event"] = str(event["event"]).replace("\r", "\\r").replace("\n", "\\n")
    return event


def _without_colour(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """uvicorn gives some messages twice, the second time in colours."""
    event.pop("color_message", None)
    return event
