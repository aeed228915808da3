"""One engine in a process of its own, so that its memory is its own: builds or answers, and says how as JSON.

python -m benchmarks.engine_process build|serve ENGINE FOLDER VECTORS.npy LIMIT
"""

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.engines import ENGINES, Engine
from benchmarks.report import memory, milliseconds, percentiles

_MISSING = 3


class EngineMissing(RuntimeError):
    """A package that the engine needs is not installed."""


def measure(job: Literal["build", "serve"], engine: str, folder: Path, vectors: Path, limit: int) -> dict[str, Any]:
    """Run a job apart; `vectors` are those to store or those to ask for.

    Raises:
        EngineMissing: says which package.
        RuntimeError: the job failed; its output is in the message.
    """
    command = [sys.executable, "-m", __name__, job, engine, str(folder), str(vectors), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very module
    if done.returncode == _MISSING:
        raise EngineMissing(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(f"{engine} failed to {job}: {done.stderr[-2_000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _build(engine: Engine, vectors: Path) -> dict[str, Any]:
    rows = np.load(vectors, mmap_mode="r")
    started = time.perf_counter()
    engine.build(rows)
    return {"build_s": time.perf_counter() - started}


def _serve(engine: Engine, vectors: Path, limit: int) -> dict[str, Any]:
    queries = np.load(vectors)
    started = time.perf_counter()
    engine.open()
    engine.ask(queries[0], limit)
    opened = time.perf_counter() - started
    answers: list[list[str]] = []
    taken = milliseconds(partial(lambda query: answers.append(engine.ask(query, limit)), query) for query in queries)
    return {"reopen_s": opened, **percentiles(taken), **memory(), "answers": answers}


def main() -> None:
    """Do the job that the command line names."""
    job, name, folder, vectors, limit = sys.argv[1:]
    try:
        engine = ENGINES[name](Path(folder))
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(_MISSING)
    result = _build(engine, Path(vectors)) if job == "build" else _serve(engine, Path(vectors), int(limit))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
