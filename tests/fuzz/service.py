"""The service that is fuzzed: the product's app over fakes and the embedded datastore, in a process of its own.

``python -m tests.fuzz.service PID_FILE --host HOST --port PORT``
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from service.app import create_app
from service.http import connections
from service.http.connections import server_config
from service.jobs import history
from service.loading import open_store
from service.monitoring.logs import set_up_logs
from service.runtime import Loaders
from service.settings import load_settings
from tests.fakes import FakeBundle


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pid_file", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    given = parser.parse_args(arguments)
    given.pid_file.write_text(str(os.getpid()))
    connections.CLIENT_SECONDS, history.KEPT = 2.0, 20
    settings = load_settings()
    set_up_logs(settings.log)
    app = create_app(settings, Loaders(lambda _: FakeBundle(), open_store))
    config = server_config(app, settings.server, host=given.host, port=given.port, log_config=None, access_log=False)
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
