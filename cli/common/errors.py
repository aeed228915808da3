"""The errors of the ``drcap`` command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class CommandError(Exception):
    """Ends the command with one line on stderr and with its exit code."""

    code: ClassVar[int] = 1


class WrongUsage(CommandError):
    """The options do not go together; the line says which to change."""

    code = 2


@contextmanager
def reported(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of these kinds, which a user can act on, into a `CommandError` with the same words."""
    try:
        yield
    except kinds as error:
        raise CommandError(str(error)) from error
