"""What stands below the options in the help of a command: examples, and what its exit codes mean."""

from rich.markup import escape


def examples(*lines: str, codes: str | None = None) -> str:
    """An epilog of commands to copy, none longer than 76 characters, so that none is broken at 80 columns.

    Args:
        lines: the commands.
        codes: what the exit codes mean.
    """
    shown = ["[bold]Examples[/]", *map(_indented, lines)]
    if codes is not None:
        shown += ["", "[bold]Exit codes[/]", *map(_indented, codes.splitlines())]
    return "\n".join(shown)


def _indented(line: str) -> str:
    # Typer takes away what all lines begin with, but not what stands within a style.
    return f"[none]  {escape(line)}[/]"
