"""Sends a corpus and follows its job on a progress bar."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from service.cli.client import checked
from service.cli.errors import CommandError

_FIRST_POLL_SECONDS, _POLL_SECONDS = 0.05, 0.5
_FINISHED = ("succeeded", "failed", "cancelled")


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
        with _bars("register") as bars:
            task = bars.add_task("register", total=job["progress"]["bytes_total"], note="")
            while job["state"] not in _FINISHED:
                _draw(bars, task, job)
                time.sleep(wait)
                wait = min(2 * wait, _POLL_SECONDS)
                job = checked(client.get(path)).json()
    except KeyboardInterrupt:
        try:
            checked(client.delete(path))
        except (CommandError, httpx.HTTPError) as error:
            raise CommandError(f"job {job['id']} could not be cancelled: {error}") from None
        raise CommandError(f"job {job['id']} is cancelled; the domain is as it was") from None
    if job["state"] == "failed":
        raise CommandError(f"{job['problem']['status']}: {job['problem']['detail']}")
    if job["state"] == "cancelled":
        raise CommandError(f"job {job['id']} was cancelled; the domain is as it was")
    result: dict[str, Any] = job["result"]
    return result


def _bars(what: str) -> Progress:
    # On stderr, so that the answer on stdout can be piped.
    return Progress(
        TextColumn(f"{what:<9}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )


def _draw(bars: Progress, task: TaskID, job: dict[str, Any]) -> None:
    now = job["progress"]
    left = "" if now["eta_seconds"] is None else f", {now['eta_seconds']:.0f} s left"
    note = f"{now['stage']}: {now['embedded']} embedded, {now['reused']} reused{left}"
    bars.update(task, completed=now["bytes_read"], note=note)
