"""LitServe with its dynamic batching: `python -m ... plain|ours DOMAIN PORT WORKERS THREADS`.

`plain` calls the models as `benchmarks.serving.plain` does, `ours` calls this project's captioner. A batch holds the
requests that LitServe has gathered when a worker is free.
"""

import asyncio
import base64
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import litserve
import torch

from benchmarks.serving.ours import OwnCaptioner
from benchmarks.serving.plain import PlainCaptioner, load_domain

BATCH = 8
_GATHER_SECONDS = 0.05


class CaptionApi(litserve.LitAPI):  # type: ignore[misc]
    """Recordings as base64 in JSON -> captions."""

    def __init__(self, which: str, domain: Path, threads: int) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=_GATHER_SECONDS)
        self._which, self._domain, self._threads = which, domain, threads

    def setup(self, device: str) -> None:  # noqa: ARG002 - the CPU
        torch.set_num_threads(self._threads)
        if self._which == "ours":
            self._loop = asyncio.new_event_loop()
            self._own = self._loop.run_until_complete(OwnCaptioner.open(self._domain))
        else:
            self._plain = PlainCaptioner(*load_domain(self._domain))

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["audio"])

    def predict(self, recordings: Sequence[bytes]) -> list[str]:
        if self._which == "ours":
            return self._loop.run_until_complete(self._own.caption(recordings))
        return self._plain.write([self._plain.hear(one) for one in recordings])

    def encode_response(self, caption: str) -> dict[str, Any]:
        return {"caption": caption}


def main() -> None:
    """Serve until told to stop."""
    which, domain, port, workers, threads = sys.argv[1:]
    server = litserve.LitServer(
        CaptionApi(which, Path(domain), int(threads)), accelerator="cpu", workers_per_device=int(workers), timeout=False
    )
    server.run(port=int(port), host="127.0.0.1", log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
