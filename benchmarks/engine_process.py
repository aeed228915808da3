"""Runs one engine in a process of its own, which measures its memory alone: builds or queries, and prints JSON.

python -m benchmarks.engine_process build|serve ENGINE FOLDER VECTORS.npy LIMIT
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import MISSING
from benchmarks.engines import ENGINES, Engine
from benchmarks.report import memory, milliseconds, percentiles


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
    """Run the job on the command line."""
    job, name, folder, vectors, limit = sys.argv[1:]
    try:
        engine = ENGINES[name](Path(folder))
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    result = _build(engine, Path(vectors)) if job == "build" else _serve(engine, Path(vectors), int(limit))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
