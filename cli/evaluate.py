"""``drcap evaluate``: what captions are worth on recordings, or on captions that stand in for them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.common.errors import CommandError
from cli.evaluator import Evaluator, Wish
from service.settings import Settings, load_settings

Clips = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="CSV of recordings and their references")]
Where = Annotated[list[str] | None, typer.Option(help="column=value that rows of --clips have; may be repeated")]
DomainName = Annotated[str | None, typer.Option(help="to caption in; needed when there are several")]
Corpus = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="caption in a domain made of this file")]
BundleName = Annotated[str | None, typer.Option(help="overrides DRCAP_BUNDLE")]
Out = Annotated[Path, typer.Option(file_okay=False, help="folder for report.md, report.json and report.png")]
Ablate = Annotated[bool, typer.Option("--ablate", help="measure the method piece by piece")]
Sweep = Annotated[bool, typer.Option(help="with --ablate: other tau, k and ways to sum the projection too")]
Beams = Annotated[int | None, typer.Option(min=1, help="width of the beam search; 1 with --ablate, else the bundle's")]
Limit = Annotated[int | None, typer.Option(min=1, help="first clips of --clips, or captions drawn by --reconstruct")]
Seed = Annotated[int, typer.Option(min=0, help="of the drawn captions and of the noise")]
Cache = Annotated[
    Path | None, typer.Option(file_okay=False, help="where domains of files are kept; by default the user's cache")
]
Url = Annotated[str | None, typer.Option(help="caption through this running service")]
Reconstruct = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="draw captions of this file in the place of recordings"),
]
SwapFrom = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="compare with this corpus as the domain, nothing retrained"),
]
Noise = Annotated[
    float, typer.Option(min=0.0, help="on the drawn captions' vectors with --swap-from, against their norm")
]


def evaluate(
    clips: Clips = None,
    where: Where = None,
    domain: DomainName = None,
    corpus: Corpus = None,
    bundle: BundleName = None,
    out: Out = Path("evaluation-report"),
    ablate: Ablate = False,
    sweep: Sweep = True,
    beams: Beams = None,
    limit: Limit = None,
    seed: Seed = 0,
    cache: Cache = None,
    url: Url = None,
    reconstruct: Reconstruct = None,
    swap_from: SwapFrom = None,
    noise: Noise = 0.8,
) -> None:
    """Measure captions, with intervals, beside the nearest caption of the domain, and write a report."""
    settings = load_settings()
    if bundle is not None:
        settings = settings.model_copy(update={"bundle": bundle})
    wish = Wish(
        clips=clips,
        where=_conditions(where or ()),
        domain=domain,
        corpus=corpus,
        ablate=ablate,
        sweep=sweep,
        beams=beams,
        limit=limit,
        seed=seed,
        cache=cache or _default_cache(settings),
        url=url,
        reconstruct=reconstruct,
        swap_from=swap_from,
        noise=noise,
    )
    wish.check()
    _make(out)
    _run(wish, settings, out)


def _run(wish: Wish, settings: Settings, out: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _one_line():
        with Progress(*columns, console=Console(stderr=True)) as progress:
            report = Evaluator(wish, settings, progress).report()
        # Shown before it is written, so that a full disk does not lose it.
        typer.echo(replace(report, clips=[]).markdown())
        report.write(out)
    typer.echo(f"The report is in {out}.")


@contextmanager
def _one_line() -> Iterator[None]:
    """Errors that a user can act on become a `CommandError`."""
    from datastores.base import DatastoreError
    from datastores.corpus.reader import CorpusError
    from evaluation.clips import ClipsError
    from evaluation.java import JavaFailed
    from evaluation.pipeline import NoReferences
    from evaluation.reconstruction import CorpusTooSmall
    from evaluation.remote import ServiceRefused
    from evaluation.scores import MetricsMissing
    from models.bundle.config import BundleError
    from models.weights import MissingWeights

    try:
        yield
    except (DatastoreError, CorpusError, ClipsError, NoReferences, CorpusTooSmall, ServiceRefused) as error:
        raise CommandError(str(error)) from error
    except (BundleError, MissingWeights, MetricsMissing, JavaFailed, OSError) as error:
        raise CommandError(str(error)) from error


def _conditions(given: Sequence[str]) -> dict[str, str]:
    conditions: dict[str, str] = {}
    for one in given:
        column, equals, value = one.partition("=")
        if not equals or not column.strip():
            raise CommandError(f"--where takes column=value, got {one!r}")
        if column.strip() in conditions:
            raise CommandError(f"--where names the column {column.strip()!r} twice")
        conditions[column.strip()] = value
    return conditions


def _default_cache(settings: Settings) -> Path:
    from models.llm.gguf_conversion import default_cache

    return (settings.cache or default_cache()) / "evaluation"


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"the report cannot be written to {out}: {error.strerror}") from error
