"""Replaces files atomically: a reader sees the old file or the whole new one."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cli.common.errors import CommandError


@contextmanager
def replacing(path: Path, over: bool = True, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Yield a file to write. It takes the place of `path` when the context ends without an error.

    Args:
        path: the file to write.
        over: whether it may exist already; it then keeps its mode.
        mode: permissions of a new file, before the umask.

    Raises `CommandError` when it cannot be written; `path` is then unchanged.
    """
    # The target of a link is replaced, not the link. The name is random, so that two commands do not share a file.
    path = path.resolve()
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            if not over:
                raise CommandError(f"{path} exists already; --force replaces it")
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
