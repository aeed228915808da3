"""A check, what it finds, and the bound on how long it may look."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

SECONDS = 5.0


class Status(StrEnum):
    """How it stands: nothing to do, something to know, or something to mend."""

    ok = "ok"
    warning = "warning"
    failure = "failure"


@dataclass(frozen=True)
class Finding:
    """One line of the report; what is no `ok` says what to do."""

    check: str
    status: Status
    said: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A subject, and how to look at it within some seconds."""

    name: str
    look: Callable[[], Iterable[Finding]]
    seconds: float = SECONDS

    def run(self) -> list[Finding]:
        """What it finds. Whatever goes wrong while looking is a finding too."""
        found: list[Finding] = []

        def look() -> None:
            try:
                found.extend(self.look())
            except Exception as error:
                said = f"it could not be looked at: {type(error).__name__}: {error}"
                found.append(failure(self.name, said, "mend what the message names"))

        # A thread that hangs is left behind: it must not keep the process from its end.
        thread = threading.Thread(target=look, name=f"check-{self.name}", daemon=True)
        thread.start()
        thread.join(self.seconds)
        if not thread.is_alive():
            return found
        said = f"there was no answer within {self.seconds:g} s"
        return [*found, failure(self.name, said, "look for a disk or network that hangs, and run it again")]


def ok(check: str, said: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Status.ok, said)


def warning(check: str, said: str, remedy: str) -> Finding:
    """Works, and somebody should know."""
    return Finding(check, Status.warning, said, remedy)


def failure(check: str, said: str, remedy: str) -> Finding:
    """Does not work."""
    return Finding(check, Status.failure, said, remedy)
