"""The service over fakes as a process: ``python -m tests.e2e.fake_service serve --host HOST --port PORT``."""

import argparse
import sys

import uvicorn

from datastores.base import DomainStore
from service.app import create_app
from service.runtime import Loaders
from service.settings import Settings, load_settings
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore

COMMAND = [sys.executable, "-m", "tests.e2e.fake_service", "serve"]


async def open_store(_: Settings) -> DomainStore:
    """An empty datastore that forgets everything at the end."""
    return MemoryStore()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    app = create_app(load_settings(), Loaders(lambda _: FakeBundle(), open_store))
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
