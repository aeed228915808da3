"""Opening the datastore of the settings in the command itself, where a running service may have it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.common.errors import CommandError
from service.settings import variable_name


def must_exist(path: Path, instead: str) -> None:
    """Raises `CommandError` if there is no datastore; opening would make one. `instead` says what to do."""
    if not path.is_dir():
        raise CommandError(f"there is no datastore at {path} ({variable_name('datastore', 'path')}); {instead}")


@contextmanager
def unless_served(path: Path, instead: str) -> Iterator[None]:
    """Opening within it raises `CommandError` if a running service has the datastore; `instead` says what to do."""
    from datastores.base import DatastoreError  # here, as numpy comes with it: whoever completes does not wait for it

    try:
        yield
    except DatastoreError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
        raise CommandError(f"the datastore {path} is open in a running service; {instead}") from error
