"""Writes log records to stderr, one line each, as text or JSON, with the id of their request."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.settings import LogSettings

# Other packages log from warnings on. Their lower levels may show addresses or keys.
_OURS = ("cli", "service", "models", "datastores", "uvicorn")


def set_up_logs(settings: LogSettings) -> None:
    """Send the logs of the process to stderr, in place of any earlier set-up.

    uvicorn's log of requests is silenced: `service.http.middleware.RequestContext` writes one line for each request.
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
    # `service.monitoring.trace_export` logs a failure once, the SDK at every try. A faulty form is in the line of its
    # request.
    for name in ("opentelemetry", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def log_formatter(settings: LogSettings) -> logging.Formatter:
    """Return a formatter for records of the standard library and their `extra` fields.

    Tracebacks omit the values of variables: one could be a key.
    """
    if settings.format == "json":
        # JSON escapes newlines. Sorted keys make lines easy to compare.
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
    """Escape newlines: a message may quote a client, and the quote must not look like another line."""
    event["event"] = str(event["event"]).replace("\r", "\\r").replace("\n", "\\n")
    return event


def _without_colour(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop the coloured copy that uvicorn adds to some messages."""
    event.pop("color_message", None)
    return event
