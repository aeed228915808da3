"""Shows on stderr how many recordings are done, and prints lines beside the bar."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Counter:
    """A bar of finished recordings, drawn if stderr is a terminal."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, count: int = 1) -> None:
        """Count further recordings as done."""
        self._bars.advance(self._task, count)

    def note(self, text: str) -> None:
        """Show what the command waits for."""
        self._bars.update(self._task, note=text)

    def say(self, line: str) -> None:
        """Print a line on stdout, above the bar if stdout is a terminal."""
        self._print(line, apart=not sys.stdout.isatty())

    def complain(self, line: str) -> None:
        """Print a line on stderr, above the bar."""
        self._print(line, apart=False, err=True)

    def _print(self, line: str, apart: bool, err: bool = False) -> None:
        if apart or self._bars.disable:
            typer.echo(line.encode(errors="replace").decode(), err=err)
        else:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def counting(what: str, total: int) -> Iterator[Counter]:
    """Show a bar that counts to `total` while the context is open."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(
        *columns,
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # stdout may be a file or a pipe; `Counter` handles terminals itself.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bars:
        yield Counter(bars, bars.add_task(what, total=total, note=""))
