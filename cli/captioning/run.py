"""Runs ``drcap caption``: sends recordings to the service, passes captions to the output, and sums up at the end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import typer

from cli.captioning.counter import Counter, counting
from cli.captioning.local import inside, load
from cli.captioning.outputs import CaptionOutput, Say
from cli.captioning.requests import REQUEST_SECONDS, CaptionClient, Outcome, captioned
from cli.common.client import connect_many
from cli.common.recordings import FoundRecordings, RecordingFile, hold
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from models.bundle.loaded import LoadedBundle

_FAILED, _INTERRUPTED = 1, 130


@dataclass(frozen=True)
class CaptionCommand:
    """How recordings are captioned.

    Attributes:
        settings: of this process.
        response_format: the format of the service's answers.
        domain: None for the only one.
        parallel: requests at a time; None for enough to fill a batch.
        url: of the service; None for the one of the settings.
        local: caption in this process.
        corpus: with `local`, a file of captions to make the domain of.
    """

    settings: Settings
    response_format: str
    domain: str | None
    parallel: int | None
    url: str | None
    local: bool
    corpus: Path | None

    @property
    def fields(self) -> dict[str, str]:
        """Fields of each request."""
        return {"response_format": self.response_format} | ({"domain": self.domain} if self.domain else {})

    @property
    def at_a_time(self) -> int:
        """Requests at a time. The settings hold for `local`; for another service they are a guess."""
        admitted = self.settings.admission.captions
        asked = self.parallel or min(self.settings.batching.prompts, admitted)
        return min(asked, admitted) if self.local else asked


@dataclass
class CaptionCounts:
    """Counts of the recordings so far, by their result."""

    before: int = 0
    captioned: int = 0
    failed: int = 0

    def __str__(self) -> str:
        parts = [f"{self.captioned} captioned"]
        parts += [f"{self.before} done before"] if self.before else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def run(command: CaptionCommand, found: FoundRecordings, output_for: Callable[[Say], CaptionOutput]) -> int:
    """Caption the recordings that are not done yet, and print a summary.

    Args:
        command: how to caption.
        found: the recordings.
        output_for: makes the output, given a function that prints a line.

    Returns:
        The exit code: 0, 1 if a recording has no caption, 130 if interrupted.

    Raises:
        CommandError, httpx.HTTPError: no recording can be captioned, or the output cannot be written.
    """
    counts, started = CaptionCounts(), time.monotonic()
    lasting = interrupted = False
    try:
        with counting("captions", len(found.recordings)) as counter, closing(output_for(counter.say)) as output:
            lasting = output.lasting
            for folder, reason in found.unreadable:
                counts.failed += 1
                counter.complain(f"drcap: {folder}: cannot be read: {reason}")
            todo = [recording for recording in found.recordings if not output.has(recording)]
            counts.before = len(found.recordings) - len(todo)
            counter.advance(counts.before)
            if todo:
                counter.note("loading the bundle" if command.local else "")
                bundle = load(command.settings) if command.local else None
                todo = [hold(recording, command.settings.audio.max_bytes) for recording in todo]
                asyncio.run(_caption(command, todo, bundle, output, counter, counts))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if (lasting or len(found.recordings) > 1) and counts != CaptionCounts():
            stopped = "interrupted: " if interrupted else ""
            more = "; the same command continues" if lasting and interrupted else ""
            typer.echo(f"{stopped}{counts} in {time.monotonic() - started:.1f} s{more}", err=True)
    return _INTERRUPTED if interrupted else _FAILED if counts.failed else 0


async def _caption(
    command: CaptionCommand,
    recordings: Sequence[RecordingFile],
    bundle: "LoadedBundle | None",
    output: CaptionOutput,
    counter: Counter,
    counts: CaptionCounts,
) -> None:
    async with _client(command, bundle) as client:
        counter.note("")
        service = CaptionClient(client, command.fields, counter.note)
        async with aclosing(captioned(recordings, service, command.at_a_time)) as outcomes:
            async for outcome in outcomes:
                output.take(outcome)
                if outcome.error is None:
                    counts.captioned += 1
                else:
                    counts.failed += 1
                    counter.complain(f"drcap: {outcome.recording}: {outcome.error}{_where(command, outcome)}")
                counter.advance()


def _where(command: CaptionCommand, outcome: Outcome) -> str:
    """Name the setting that shows the log, if a fault happened in this process."""
    fault = command.local and (outcome.error or "").startswith("500: ")
    return f" ({variable_name('log', 'level')}=debug shows it)" if fault else ""


@asynccontextmanager
async def _client(command: CaptionCommand, bundle: "LoadedBundle | None") -> AsyncIterator[httpx.AsyncClient]:
    if bundle is None:
        async with connect_many(command.url, REQUEST_SECONDS) as client:
            yield client
    else:
        async with inside(command.settings, bundle, command.corpus) as client:
            yield client
