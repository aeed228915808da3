"""The path ``-``: what comes from stdin."""

from collections.abc import Iterable
from pathlib import Path

import typer

STDIN = Path("-")


def there(paths: Iterable[Path] | Path) -> Iterable[Path] | Path:
    """For an argument's `callback`: the paths, each of which is there or is `STDIN`.

    Typer's own ``exists`` with ``allow_dash`` looks for a file of that name.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        if path != STDIN and not path.exists():
            raise typer.BadParameter(f"{str(path)!r} does not exist.")
    return paths
