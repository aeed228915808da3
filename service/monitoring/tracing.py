"""Tracing: what a request did, and when, as spans for whoever collects them. Where nobody does, it costs nothing.

This module knows no library; `service.monitoring.otel` is OpenTelemetry's side and is imported only when it is used.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from service.settings import SettingsError, TracingSettings, variable_name

Value = str | int | float


class Span(Protocol):
    """One thing that is under way. Nothing of it raises, and nothing waits for its collector."""

    @property
    def trace_id(self) -> str:
        """32 hex digits, for the log."""

    def child(self, name: str) -> AbstractContextManager["Span"]:
        """A span inside this one; it ends with the context, as failed if that raises."""

    def note(self, name: str, value: Value) -> None:
        """Something known of it."""

    def add(self, name: str, value: float) -> None:
        """Add to a number known of it."""

    def answered(self, method: str, route: str, status: int) -> None:
        """Of a request: what it turned out to be, and how it was answered."""


class Tracing(Protocol):
    """Makes the spans of requests and hands them to a collector."""

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """The span of a request, in the trace that its ``traceparent`` names, else in a new one."""

    def close(self) -> None:
        """Hand over what is left, for a bounded time. Blocks."""


_NOTHING: AbstractContextManager[None] = nullcontext()
_current: ContextVar[Span | None] = ContextVar("span", default=None)


@contextmanager
def current(span: Span) -> Iterator[None]:
    """Spans that are begun meanwhile, also in tasks begun meanwhile, are inside this one."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def span(name: str) -> AbstractContextManager[None]:
    """A span inside the current one; nothing where there is none."""
    parent = _current.get()
    return _NOTHING if parent is None else _inside(parent, name)


@contextmanager
def _inside(parent: Span, name: str) -> Iterator[None]:
    with parent.child(name) as child, current(child):
        yield


def note(name: str, value: Value) -> None:
    """Something known of the current span."""
    one = _current.get()
    if one is not None:
        one.note(name, value)


def add(name: str, value: float) -> None:
    """Add to a number known of the current span."""
    one = _current.get()
    if one is not None:
        one.add(name, value)


def open_tracing(settings: TracingSettings) -> Tracing | None:
    """Tracing as the settings say; None where they name no collector. Raises `SettingsError` without the extra."""
    if settings.endpoint is None:
        return None
    try:
        from service.monitoring.otel import otlp_tracing
    except ImportError as error:
        setting = variable_name("tracing", "endpoint")
        raise SettingsError(f"{setting} needs OpenTelemetry: pip install 'drcap[otel]' ({error})") from error
    return otlp_tracing(settings.endpoint)
