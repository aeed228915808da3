"""The error of the ``drcap`` command."""


class CommandError(Exception):
    """Ends the command with one line on stderr and exit code 1."""
