"""Files that are whole or not there: written beside their place, then moved to it."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cli.common.errors import CommandError


@contextmanager
def replacing(path: Path, over: bool = True) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` when the context ends without an error.

    Args:
        path: of the file.
        over: whether it may be there already.

    Raises `CommandError` when it cannot be written; `path` is then as it was.
    """
    # A link stays one. The name is another each time, so that two commands do not write into one file.
    path = path.resolve()
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            if not over:
                raise CommandError(f"{path} is there already; --force replaces it")
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
