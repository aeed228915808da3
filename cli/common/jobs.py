"""Jobs of registration: send a corpus, follow the job that it becomes, and show both on stderr."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from cli.common.client import checked
from cli.common.errors import CommandError

FINISHED = ("succeeded", "failed", "cancelled")
"""The states of a finished job."""

_FIRST_POLL_SECONDS, _POLL_SECONDS = 0.05, 0.5


class _WatchedFile(io.BufferedReader):
    """A file that reports the bytes of every read."""

    def __init__(self, path: Path, on_read: Callable[[int], object]) -> None:
        super().__init__(io.FileIO(path))
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._on_read(len(data))
        return data


def send(client: httpx.Client, method: str, path: str, file: Path, params: dict[str, str]) -> dict[str, Any]:
    """Stream a corpus to the service behind a progress bar, and return the job. Raises `CommandError`."""
    with _bars("upload") as bars:
        task = bars.add_task("upload", total=file.stat().st_size, note="")
        with _WatchedFile(file, lambda count: bars.advance(task, count)) as source:
            # Without a media type the service goes by the name of the file, or by its content.
            part = {"file": (file.name, source, "application/octet-stream")}
            job: dict[str, Any] = checked(client.request(method, path, files=part, params=params)).json()
            return job


def follow(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job behind a progress bar, and return its result. Ctrl-C cancels the job.

    Raises:
        CommandError: the job failed or was cancelled.
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
        raise CommandError(f"job {job['id']} is cancelled; the domain is unchanged") from None
    return result_of(job)


def result_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a finished job. Raises `CommandError` if it failed or was cancelled."""
    if job["state"] == "failed":
        raise CommandError(f"{job['problem']['status']}: {job['problem']['detail']}")
    if job["state"] == "cancelled":
        raise CommandError(f"job {job['id']} was cancelled; the domain is unchanged")
    result: dict[str, Any] = job["result"]
    return result


@contextmanager
def drawing(what: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a bar while the context is open. Yields a function that draws the current state of a job."""
    with _bars(what) as bars:
        task = bars.add_task(what, total=None, note="")

        def draw(job: dict[str, Any]) -> None:
            now = job["progress"]
            left = "" if now["eta_seconds"] is None else f", {now['eta_seconds']:.0f} s left"
            note = f"{now['stage']}: {now['embedded']} embedded, {now['reused']} reused{left}"
            bars.update(task, completed=now["bytes_read"], total=now["bytes_total"], note=note)

        yield draw


def _bars(what: str) -> Progress:
    # stderr, so that the answer on stdout can be piped
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
