"""Findings: one line each of what ``drcap doctor`` reports."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Severity: nothing to do, worth knowing, or in need of repair."""

    ok = "ok"
    warning = "warning"
    failure = "failure"


@dataclass(frozen=True)
class Finding:
    """One result of a check; a warning and a failure say what to do."""

    status: Status
    said: str
    remedy: str = ""


def ok(said: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(Status.ok, said)


def warning(said: str, remedy: str) -> Finding:
    """Return a finding about something that works but deserves attention."""
    return Finding(Status.warning, said, remedy)


def failure(said: str, remedy: str) -> Finding:
    """Return a finding about something that does not work."""
    return Finding(Status.failure, said, remedy)
