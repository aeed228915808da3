"""The end of a command's help: examples, and the meaning of the exit codes."""

from rich.markup import escape


def examples(*lines: str, codes: str | None = None) -> str:
    """Return an epilog of commands to copy.

    Args:
        lines: the commands, of at most 76 characters each, so that none wraps at 80 columns.
        codes: the exit codes with their meaning, one a line.
    """
    shown = ["[bold]Examples[/]", *map(_indented, lines)]
    if codes is not None:
        shown += ["", "[bold]Exit codes[/]", *map(_indented, codes.splitlines())]
    return "\n".join(shown)


def _indented(line: str) -> str:
    # Typer strips the indentation that all lines share, but not spaces inside a style.
    return f"[none]  {escape(line)}[/]"
