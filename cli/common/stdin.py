"""The path ``-``, which stands for stdin."""

from collections.abc import Iterable
from pathlib import Path

import typer

STDIN = Path("-")


def existing_or_stdin(paths: Iterable[Path] | Path) -> Iterable[Path] | Path:
    """Return the paths if each exists or is `STDIN`; for the `callback` of an argument.

    Typer's own ``exists`` with ``allow_dash`` looks for a file named ``-``.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        if path != STDIN and not path.exists():
            raise typer.BadParameter(f"{str(path)!r} does not exist.")
    return paths
