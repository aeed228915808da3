"""Runs a measurement in a process of its own, which measures the memory of one engine alone."""

import json
import subprocess
import sys
from typing import Any

MISSING = 3
"""Exit status of a child that lacks a package."""

_SECONDS = 3_600


class PackageMissing(RuntimeError):
    """A package that an engine needs is missing; the message names it."""


def answer_of(module: str, *arguments: str) -> Any:
    """Run a module with these arguments and return the last line that it prints, read as JSON.

    Raises:
        PackageMissing: the module ended with `MISSING`.
        RuntimeError: the module failed; the message has the end of its output.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    if done.returncode == MISSING:
        raise PackageMissing(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(f"{module} failed with {' '.join(arguments)}: {done.stderr.strip()[-2_000:]}")
    return json.loads(done.stdout.splitlines()[-1])
