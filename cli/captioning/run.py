"""What ``drcap caption`` does: recordings to the service, captions to where they go, and the account at the end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import typer

from cli.captioning.local import inside, load
from cli.captioning.outputs import Results, Say
from cli.captioning.recordings import Found, Recording, hold
from cli.captioning.requests import REQUEST_SECONDS, Asker, Outcome, captioned
from cli.common.client import connect_many
from cli.common.progress import Counter, counting
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    from models.bundle.loaded import LoadedBundle

_FAILED, _INTERRUPTED = 1, 130


@dataclass(frozen=True)
class Wish:
    """What is asked of whom.

    Attributes:
        settings: of this process.
        response_format: that the service answers in.
        domain: None for the only one.
        parallel: requests at a time; None for what fills a batch.
        url: of the service; None for that of the settings.
        local: ask no service.
        corpus: captions that are the domain where no service is asked.
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
        """Of each request."""
        return {"response_format": self.response_format} | ({"domain": self.domain} if self.domain else {})

    @property
    def at_a_time(self) -> int:
        """Requests; the settings are the service's own where none is asked, and a guess elsewhere."""
        admitted = self.settings.admission.captions
        asked = self.parallel or min(self.settings.batching.prompts, admitted)
        return min(asked, admitted) if self.local else asked


@dataclass
class Tally:
    """What became of the recordings so far."""

    before: int = 0
    captioned: int = 0
    failed: int = 0

    def __str__(self) -> str:
        parts = [f"{self.captioned} captioned"]
        parts += [f"{self.before} done before"] if self.before else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def run(wish: Wish, found: Found, results_for: Callable[[Say], Results]) -> int:
    """Caption what is found and not done yet, and say at the end what became of it.

    Args:
        wish: how.
        found: the recordings.
        results_for: given what prints a line, takes the captions.

    Returns:
        The exit code: 0, 1 where a recording has no caption, 130 when interrupted.

    Raises:
        CommandError, httpx.HTTPError: no recording can be captioned, or nothing written.
    """
    tally, started = Tally(), time.monotonic()
    lasting = interrupted = False
    try:
        with counting("captions", len(found.recordings)) as counter, closing(results_for(counter.say)) as results:
            lasting = results.lasting
            for folder, reason in found.unreadable:
                tally.failed += 1
                counter.complain(f"drcap: {folder}: cannot be read: {reason}")
            todo = [recording for recording in found.recordings if not results.has(recording)]
            tally.before = len(found.recordings) - len(todo)
            counter.advance(tally.before)
            if todo:
                counter.note("loading the bundle" if wish.local else "")
                bundle = load(wish.settings) if wish.local else None
                todo = [hold(recording, wish.settings.audio.max_bytes) for recording in todo]
                asyncio.run(_caption(wish, todo, bundle, results, counter, tally))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if (lasting or len(found.recordings) > 1) and tally != Tally():
            stopped = "interrupted: " if interrupted else ""
            more = "; the same command goes on" if lasting and interrupted else ""
            typer.echo(f"{stopped}{tally} in {time.monotonic() - started:.1f} s{more}", err=True)
    return _INTERRUPTED if interrupted else _FAILED if tally.failed else 0


async def _caption(
    wish: Wish,
    recordings: Sequence[Recording],
    bundle: "LoadedBundle | None",
    results: Results,
    counter: Counter,
    tally: Tally,
) -> None:
    async with _client(wish, bundle) as client:
        counter.note("")
        asker = Asker(client, wish.fields, counter.note)
        async with aclosing(captioned(recordings, asker, wish.at_a_time)) as outcomes:
            async for outcome in outcomes:
                results.take(outcome)
                if outcome.error is None:
                    tally.captioned += 1
                else:
                    tally.failed += 1
                    counter.complain(f"drcap: {outcome.recording}: {outcome.error}{_where(wish, outcome)}")
                counter.advance()


def _where(wish: Wish, outcome: Outcome) -> str:
    """Where the log is that the error speaks of, if that is here."""
    fault = wish.local and (outcome.error or "").startswith("500: ")
    return f" ({variable_name('log', 'level')}=debug shows it)" if fault else ""


@asynccontextmanager
async def _client(wish: Wish, bundle: "LoadedBundle | None") -> AsyncIterator[httpx.AsyncClient]:
    if bundle is None:
        async with connect_many(wish.url, REQUEST_SECONDS) as client:
            yield client
    else:
        async with inside(wish.settings, bundle, wish.corpus) as client:
            yield client
