"""``drcap evaluate``: measures captions of recordings, or of captions that stand in for recordings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.common.completion import Domain
from cli.common.errors import CommandError, reported
from cli.evaluating.options import EvaluateOptions
from cli.evaluating.run import Evaluator
from service.settings import Settings, load_settings, variable_name

Clips = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="CSV of recordings and their references")]
Where = Annotated[list[str] | None, typer.Option(help="column=value of the rows of --clips to take; repeatable")]
Corpus = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="caption in a domain made of this file")]
Bundle = Annotated[str | None, typer.Option(help=f"overrides {variable_name('bundle')}")]
Out = Annotated[Path, typer.Option(file_okay=False, help="folder for report.md, report.json and report.png")]
Ablate = Annotated[bool, typer.Option("--ablate", help="measure the method piece by piece")]
Sweep = Annotated[bool, typer.Option(help="with --ablate: also try other tau, k and sums of the projection")]
Beams = Annotated[int | None, typer.Option(min=1, help="width of the beam search; 1 with --ablate, else the bundle's")]
Limit = Annotated[int | None, typer.Option(min=1, help="number of clips, or of captions that --reconstruct draws")]
Seed = Annotated[int, typer.Option(min=0, help="seed of the drawn captions and of the noise")]
Cache = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="folder that keeps domains made of files; by default the user's cache"),
]
ServiceUrl = Annotated[str | None, typer.Option(help="caption through this running service")]
Reconstruct = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="draw captions of this file instead of recordings"),
]
SwapFrom = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="compare with this corpus as the domain, without training"),
]
Noise = Annotated[
    float,
    typer.Option(min=0.0, help="noise on the vectors of drawn captions with --swap-from, relative to their norm"),
]


def evaluate(
    clips: Clips = None,
    where: Where = None,
    domain: Domain = None,
    corpus: Corpus = None,
    bundle: Bundle = None,
    out: Out = Path("evaluation-report"),
    ablate: Ablate = False,
    sweep: Sweep = True,
    beams: Beams = None,
    limit: Limit = None,
    seed: Seed = 0,
    cache: Cache = None,
    url: ServiceUrl = None,
    reconstruct: Reconstruct = None,
    swap_from: SwapFrom = None,
    noise: Noise = 0.8,
) -> None:
    """Compare captions with the nearest caption of the domain, with intervals, and write a report."""
    settings = load_settings()
    if bundle is not None:
        settings = settings.model_copy(update={"bundle": bundle})
    options = EvaluateOptions(
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
    options.check()
    _make(out)
    _run(options, settings, out)


def _run(options: EvaluateOptions, settings: Settings, out: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from datastores.base import DatastoreError
    from datastores.corpus.error import CorpusError
    from evaluation.clips import ClipsError
    from evaluation.java import JavaFailed
    from evaluation.pipeline import NoReferences
    from evaluation.reconstruction import CorpusTooSmall
    from evaluation.remote import ServiceRefused
    from evaluation.scores import MetricsMissing
    from models.bundle.config import BundleError
    from models.weights import MissingWeights

    unreadable = (ClipsError, NoReferences, CorpusError, CorpusTooSmall, BundleError, MissingWeights)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with reported(*unreadable, DatastoreError, ServiceRefused, MetricsMissing, JavaFailed, OSError):
        with Progress(*columns, console=Console(stderr=True)) as progress:
            report = Evaluator(options, settings, progress).report()
        # The report is shown before it is written, so that a full disk does not lose it.
        typer.echo(replace(report, clips=[]).markdown())
        report.write(out)
    typer.echo(f"The report is in {out}.")


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
