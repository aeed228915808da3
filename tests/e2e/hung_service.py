"""A service over fakes of which something never ends: ``python -m tests.e2e.hung_service model --port PORT``.

It gives up what does not end much sooner than the real one.
"""

import argparse
import sys
import threading
from collections.abc import Sequence
from functools import partial, partialmethod
from unittest.mock import patch

from cli import serve as serving
from models.bundle.loaded import LoadedBundle
from models.vectors import FloatArray
from service.captioning.batched_models import BatchedModels
from service.monitoring.logs import set_up_logs
from service.runtime import Loaders
from service.settings import Settings, load_settings
from tests.e2e.fake_service import open_store
from tests.fakes import FakeBundle, FakeClap

COMMAND = [sys.executable, "-m", "tests.e2e.hung_service"]
HANGS = "from now on it hangs"


def hang() -> None:
    """Say so and never end."""
    print(HANGS, file=sys.stderr, flush=True)
    threading.Event().wait()


class HungClap(FakeClap):
    """Never comes to the end of a text."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        hang()
        return super().embed_text(texts)


def load(what: str, _: Settings) -> LoadedBundle:
    """A bundle that hangs, now or at work."""
    if what == "bundle":
        hang()
    return FakeBundle(clap=HungClap())


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["model", "bundle"])
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    settings = load_settings()
    server = settings.server.model_copy(update={"port": arguments.port, "drain_seconds": 1})
    settings = settings.model_copy(update={"server": server})
    set_up_logs(settings.log)
    with (
        patch.object(serving, "DEFAULT_LOADERS", Loaders(partial(load, arguments.what), open_store)),
        patch.object(serving, "_CLOSING_SECONDS", 3.0),
        patch.object(BatchedModels, "close", partialmethod(BatchedModels.close, 0.5)),
    ):
        serving.serve(settings)


if __name__ == "__main__":
    main()
