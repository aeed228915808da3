import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_SLOW = [Path(__file__).parent / folder for folder in ("e2e", "fuzz", "unit/benchmarks", "unit/research")]


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark whole folders as slow; elsewhere a slow test says so itself."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in _SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command says is caught, and no terminal, whatever the environment of the tests says of its own."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command under test sends the logs of this process to a stream that is closed with the test."""
    names = ("", "cli", "service", "models", "datastores", "uvicorn", "uvicorn.error", "uvicorn.access")
    kept = [(one := logging.getLogger(name), one.level, one.handlers[:], one.propagate) for name in names]
    yield
    for logger, level, handlers, propagate in kept:
        logger.setLevel(level)
        logger.handlers[:], logger.propagate = handlers, propagate
