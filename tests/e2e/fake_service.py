"""The service over fakes as a process: ``python -m tests.e2e.fake_service serve --host HOST --port PORT``.

While the file exists that `HOLD` names, it hears no more than some recordings: who asked for more waits.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from datastores.base import DomainStore
from models.vectors import FloatArray
from service.app import create_app
from service.runtime import Loaders
from service.settings import Settings, load_settings
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore

COMMAND = [sys.executable, "-m", "tests.e2e.fake_service", "serve"]
HOLD = "FAKE_SERVICE_HOLD"
_HEARD_AT_FIRST = 20


async def open_store(_: Settings) -> DomainStore:
    """An empty datastore that forgets everything at the end."""
    return MemoryStore()


class HeldClap(FakeClap):
    """Hears some and then waits, as long as there is a certain file."""

    def __init__(self, hold: Path) -> None:
        self._hold = hold
        self._heard = 0

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        if not self._hold.exists():
            self._heard = 0
        while self._hold.exists() and self._heard >= _HEARD_AT_FIRST:
            time.sleep(0.01)
        self._heard += len(windows)
        return super().embed_audio(windows)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    clap = HeldClap(Path(os.environ[HOLD])) if HOLD in os.environ else FakeClap()
    app = create_app(load_settings(), Loaders(lambda _: FakeBundle(clap=clap), open_store))
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
