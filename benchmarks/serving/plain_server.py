"""A FastAPI handler around the plain models, one request at a time: `python -m ... DOMAIN.npz PORT`."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI

from benchmarks.serving.plain import PlainCaptioner, load_domain


def main() -> None:
    """Load the models and serve."""
    domain, port = sys.argv[1:]
    captioner = PlainCaptioner(*load_domain(Path(domain)))

    app, lock = FastAPI(), threading.Lock()

    @app.get("/readyz")
    def ready() -> str:
        return "ok"

    @app.post("/caption")
    def caption(recording: Annotated[bytes, Body(media_type="audio/wav")]) -> dict[str, str]:
        with lock:
            return {"caption": captioner.write([captioner.hear(recording)])[0]}

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
