"""The inputs of the commands: captions, their vectors, recordings, and the embedded CLAP."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.captions import TooFewCaptions, load_captions
from benchmarks.report import BenchmarkReport
from datastores.corpus.error import CorpusError
from models.clap.embedded import EmbeddedClap
from models.vectors import FloatArray
from service.audio.formats import SUFFIXES

# A file or a pipe has no width of its own, and the tables need more than the 80 columns taken for it.
_WIDTH = 170

Json = Annotated[Path | None, typer.Option("--json", help="Write the results, with machine facts, to this file.")]
CorpusFile = Annotated[
    Path | None,
    typer.Option(
        "--corpus",
        exists=True,
        dir_okay=False,
        help="Captions in any format that registration reads; without it they are made from the sample domains.",
    ),
]
Clips = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the recordings to send.")]
Captions = Annotated[int, typer.Option("--captions", min=50, help="Captions to take from the corpus and embed.")]


def measured(
    subject: str,
    settings: object,
    json: Path | None,
    run: Callable[[BenchmarkReport, Console], None],
    **facts: str | int,
) -> None:
    """Run a measurement, show its report and write it to `json`; `facts` stand in it beside the settings."""
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH)
    report = BenchmarkReport(subject, {**vars(settings), **facts})
    run(report, console)
    report.show(console)
    if json is not None:
        report.write(json)
        console.print(f"written to {json}", markup=False)


def corpus_facts(corpus: Path | None, count: int) -> dict[str, str | int]:
    """Return what a report says about its captions."""
    return {"corpus": corpus.name if corpus else "generated", "corpus_captions": count}


def read_captions(corpus: Path | None, count: int) -> list[str]:
    """Return `count` captions. Raises `typer.BadParameter` if the corpus is unreadable or too small."""
    try:
        return load_captions(corpus, count)
    except (TooFewCaptions, CorpusError) as error:
        raise typer.BadParameter(str(error)) from error


def caption_vectors(corpus: Path | None, count: int, console: Console) -> FloatArray:
    """Return the embedded CLAP's vectors [count, d] of `count` captions. Raises as `read_captions`."""
    texts = read_captions(corpus, count)
    console.print(f"embedding {count:,} captions")
    return embedded_clap().embed_text(texts)


def read_recordings(clips: Path) -> list[bytes]:
    """Return the recordings in a folder. Raises `typer.BadParameter` if there are none."""
    recordings = [path.read_bytes() for path in sorted(clips.iterdir()) if path.suffix.lower() in SUFFIXES]
    if not recordings:
        raise typer.BadParameter(f"there are no recordings in {clips}")
    return recordings


def embedded_clap(exact: bool = False) -> EmbeddedClap:
    """Load the embedded CLAP on the CPU; `exact` keeps its networks in their plain form."""
    return EmbeddedClap.load(clap_weights(), torch.device("cpu"), exact=exact)


def clap_weights() -> Path:
    """Return the path of the embedded CLAP's weights."""
    return Path(str(files("models.embedded") / "clap.safetensors"))
