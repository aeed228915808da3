"""The errors of the ``drcap`` command."""

from typing import ClassVar


class CommandError(Exception):
    """Ends the command with one line on stderr and with its exit code."""

    code: ClassVar[int] = 1


class WrongUsage(CommandError):
    """The options do not go together; the line says which to change."""

    code = 2
