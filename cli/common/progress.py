"""Progress on stderr: of a corpus that is sent, of the job it becomes, of recordings that are captioned."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.common.client import checked
from cli.common.errors import CommandError

FINISHED = ("succeeded", "failed", "cancelled")
"""The states of a job that is over."""

_FIRST_POLL_SECONDS, _POLL_SECONDS = 0.05, 0.5


class _Watched(io.BufferedReader):
    """A file that tells how much of it is read, each time."""

    def __init__(self, path: Path, on_read: Callable[[int], object]) -> None:
        super().__init__(io.FileIO(path))
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._on_read(len(data))
        return data


def send(client: httpx.Client, method: str, path: str, file: Path, params: dict[str, str]) -> dict[str, Any]:
    """Stream a corpus to the service, showing how much has gone; gives the job. Raises `CommandError`."""
    with _bars("upload") as bars:
        task = bars.add_task("upload", total=file.stat().st_size, note="")
        with _Watched(file, lambda count: bars.advance(task, count)) as source:
            # No media type: the name says what the file is, and where it does not, the service looks into it.
            part = {"file": (file.name, source, "application/octet-stream")}
            job: dict[str, Any] = checked(client.request(method, path, files=part, params=params)).json()
            return job


def follow(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job on a progress bar; gives its result. Ctrl-C cancels the job.

    Raises:
        CommandError: it failed, or was cancelled.
    """
    path, wait = f"/jobs/{job['id']}", _FIRST_POLL_SECONDS
    try:
        with drawing("register") as draw:
            while job["state"] not in FINISHED:
                draw(job)
                time.sleep(wait)
                wait = min(2 * wait, _POLL_SECONDS)
                job = checked(client.get(path)).json()
    except KeyboardInterrupt:
        try:
            checked(client.delete(path))
        except (CommandError, httpx.HTTPError) as error:
            raise CommandError(f"job {job['id']} could not be cancelled: {error}") from None
        raise CommandError(f"job {job['id']} is cancelled; the domain is as it was") from None
    return result_of(job)


def result_of(job: dict[str, Any]) -> dict[str, Any]:
    """What a job that is over has done. Raises `CommandError` when it failed or was cancelled."""
    if job["state"] == "failed":
        raise CommandError(f"{job['problem']['status']}: {job['problem']['detail']}")
    if job["state"] == "cancelled":
        raise CommandError(f"job {job['id']} was cancelled; the domain is as it was")
    result: dict[str, Any] = job["result"]
    return result


@contextmanager
def drawing(what: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar while the context is open; call what it gives with a job as it is now."""
    with _bars(what) as bars:
        task = bars.add_task(what, total=None, note="")

        def draw(job: dict[str, Any]) -> None:
            now = job["progress"]
            left = "" if now["eta_seconds"] is None else f", {now['eta_seconds']:.0f} s left"
            note = f"{now['stage']}: {now['embedded']} embedded, {now['reused']} reused{left}"
            bars.update(task, completed=now["bytes_read"], total=now["bytes_total"], note=note)

        yield draw


class Counter:
    """How many recordings are done, shown where stderr is a terminal, and what is to be said meanwhile."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._bars.advance(self._task, count)

    def note(self, text: str) -> None:
        """What is waited for."""
        self._bars.update(self._task, note=text)

    def say(self, line: str) -> None:
        """Print a line on stdout, above the bar if that is the same terminal."""
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
    """A bar that counts to `total` while the context is open."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(
        *columns,
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Whatever is written to stdout is for a file or a pipe; `Counter` knows about terminals.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bars:
        yield Counter(bars, bars.add_task(what, total=total, note=""))


def _bars(what: str) -> Progress:
    # On stderr, so that the answer on stdout can be piped.
    console = Console(stderr=True)
    return Progress(
        TextColumn(f"{what:<9}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
