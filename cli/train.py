"""``drcap train``: trains a decoder on captions, and writes a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common.errors import CommandError, reported
from cli.common.parquet import readable
from datastores.corpus.formats import suffixes
from service.settings import Settings, load_settings
from training.options import TrainOptions

if TYPE_CHECKING:
    from datastores.corpus.reader import CorpusLimits
    from models.clap.base import Clap
    from training.corpora import TrainingCorpus
    from training.similarity import SelectionRange
    from training.validation import HeardClip


def train(
    corpora: Annotated[
        list[Path],
        typer.Argument(help=f"caption files as for a domain: {suffixes('.parquet')}, also as .gz", exists=True),
    ],
    out: Annotated[Path, typer.Option(help="folder for the new bundle")],
    bundle: Annotated[str, typer.Option(help="name or folder of the bundle to start from")] = Settings.model_fields[
        "bundle"
    ].default,
    fresh: Annotated[bool, typer.Option("--fresh", help="start from a new projector and LoRA")] = False,
    work: Annotated[Path | None, typer.Option(help="folder for checkpoints and log; by default OUT.work")] = None,
    name: Annotated[str | None, typer.Option(help="name of the new bundle; by default the name of OUT")] = None,
    licence: Annotated[str, typer.Option(help="licence of the captions, for the model card")] = "not stated",
    weight: Annotated[
        list[str] | None, typer.Option(help="CORPUS=NUMBER: how often its captions are drawn; repeatable")
    ] = None,
    steps: Annotated[int, typer.Option(help="optimiser steps")] = TrainOptions.steps,
    batch: Annotated[int, typer.Option(help="prompts in a batch")] = TrainOptions.batch,
    accumulate: Annotated[int, typer.Option(help="batches in a step")] = TrainOptions.accumulate,
    rate: Annotated[float, typer.Option(help="highest learning rate")] = TrainOptions.rate,
    rank: Annotated[int, typer.Option(help="rank of the LoRA")] = TrainOptions.rank,
    dropout: Annotated[float, typer.Option(help="dropout of the LoRA")] = TrainOptions.dropout,
    seed: Annotated[int, typer.Option(help="seed of everything that is drawn")] = TrainOptions.seed,
    every: Annotated[int, typer.Option(help="steps between checkpoints, each with a validation")] = TrainOptions.every,
    patience: Annotated[
        int, typer.Option(help="validations without gain before stopping; 0: never")
    ] = TrainOptions.patience,
    clips: Annotated[
        Path | None, typer.Option(help="CSV of recordings to validate with (file, caption...)", exists=True)
    ] = None,
    similarity: Annotated[
        str | None, typer.Option(help="LOW,HIGH of similar captions; by default chosen from the corpora")
    ] = None,
    similar: Annotated[str, typer.Option(help="FEWEST,MOST similar captions in a prompt")] = "1,8",
    drop: Annotated[float, typer.Option(help="chance of each similar caption to be dropped")] = 0.2,
    plain: Annotated[float, typer.Option(help="share of prompts without similar captions")] = 0.1,
    noise: Annotated[float, typer.Option(help="largest ratio of Gaussian noise to text embedding")] = 0.6,
    mishear: Annotated[float, typer.Option(help="share of examples that are misheard as a CLAP mishears")] = 0.7,
    project: Annotated[float, typer.Option(help="share of embeddings projected on the support")] = 0.8,
    restyle: Annotated[float, typer.Option(help="share of examples rewritten in another style")] = 0.0,
    targets: Annotated[int, typer.Option(help="captions written from one prompt")] = 6,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = TrainOptions.precision,
    threads: Annotated[int | None, typer.Option(help="threads of torch on a CPU")] = None,
) -> None:
    """Train a bundle's decoder on captions alone; no recording is needed.

    The same command continues a run that was stopped. With several GPUs:
    torchrun --nproc_per_node 4 .venv/bin/drcap train ...

    Example: drcap train field-notes.txt --out bundles/field --steps 300
    """
    import torch
    from rich.console import Console

    from datastores.corpus.error import CorpusError
    from models.bundle.config import BundleError, bundle_folder, read_config
    from models.bundle.load import load_clap
    from models.weights import MissingWeights
    from service.jobs.corpus_reading import corpus_limits
    from training.accelerator import MissingExtra, make_accelerator
    from training.bundle_writer import OutputExists
    from training.checkpoint import CheckpointError
    from training.examples import ExampleOptions
    from training.run import Job
    from training.run import train as run

    if threads is not None:
        torch.set_num_threads(threads)
    settings = load_settings()
    console = Console(stderr=True, highlight=False)
    given = (BundleError, CheckpointError, CorpusError, MissingExtra, MissingWeights, OutputExists)
    with reported(*given, OSError, ValueError, FloatingPointError):
        options = TrainOptions(
            steps=steps, batch=batch, accumulate=accumulate, rate=rate, seed=seed, every=every, patience=patience,
            fresh=fresh, rank=rank, dropout=dropout, precision=precision,  # type: ignore[arg-type]
        )  # fmt: skip
        drawing = {
            "similar": _pair(similar, int, "--similar"), "drop": drop, "plain": plain, "noise": noise,
            "mishear": mishear, "project": project, "restyle": restyle, "targets": targets,
        }  # fmt: skip
        accelerator = make_accelerator(options, settings.device, console)
        folder = bundle_folder(bundle)
        config = read_config(folder)
        clap = load_clap(config.clap, folder, accelerator.device)
        weights = _weights(weight or [])
        limits = corpus_limits(settings.corpus)
        loaded = [_load(path, clap, limits) for path in corpora]
        _say(console, loaded)
        job = Job(
            base=folder,
            corpora=[_weighed(corpus, weights) for corpus in loaded],
            out=out,
            work=work or out.with_name(out.name + ".work"),
            name=name or out.name,
            licence=licence,
            options=options,
            examples=lambda selection: ExampleOptions(selection, **drawing),  # type: ignore[arg-type]
            selection=_range(similarity),
            clips=_heard(clips, clap, settings) if clips else (),
        )
        if weights:
            raise CommandError(f"--weight names {', '.join(weights)}, but there is no such corpus")
        trained = run(job, clap, console, accelerator)
    if accelerator.is_main_process:
        console.print(
            f"{out}: best validation {trained.progressed.best:.4f} at step {trained.progressed.best_step}"
            + (", stopped early" if trained.early else "")
        )


def _load(path: Path, clap: "Clap", limits: "CorpusLimits") -> "TrainingCorpus":
    from training.corpora import load_corpus

    with readable(path) as corpus:
        return load_corpus(corpus, clap, limits)


def _pair(text: str, kind: Any, option: str) -> tuple[Any, Any]:
    try:
        low, high = (kind(part) for part in text.split(","))
    except ValueError as error:
        raise CommandError(f"{option} takes two numbers separated by a comma, got {text!r}") from error
    return low, high


def _range(text: str | None) -> "SelectionRange | None":
    from training.similarity import SelectionRange

    return None if text is None else SelectionRange(*_pair(text, float, "--similarity"))


def _weights(pairs: Sequence[str]) -> dict[str, float]:
    weights = {}
    for pair in pairs:
        corpus, _, number = pair.rpartition("=")
        try:
            weights[corpus] = float(number)
        except ValueError as error:
            raise CommandError(f"--weight takes CORPUS=NUMBER, got {pair!r}") from error
        if not corpus or not 0 < weights[corpus] < float("inf"):
            raise CommandError(f"--weight takes CORPUS=NUMBER with a number above 0, got {pair!r}")
    return weights


def _weighed(corpus: "TrainingCorpus", weights: dict[str, float]) -> "TrainingCorpus":
    from dataclasses import replace

    return replace(corpus, weight=weights.pop(corpus.name, 1.0))


def _say(console: Any, corpora: "Sequence[TrainingCorpus]") -> None:
    for corpus in corpora:
        cut = f", without {corpus.cut} that are longer than the CLAP reads" if corpus.cut else ""
        console.print(f"{corpus.name}: {len(corpus.captions):,} captions{cut}")


def _heard(path: Path, clap: "Clap", settings: Settings) -> "list[HeardClip]":
    from rich.progress import Progress

    from cli.common.listening import listener
    from evaluation.clips import read_clips
    from evaluation.pipeline import hear
    from training.validation import HeardClip

    with Progress(disable=True) as progress:
        sounds = hear(read_clips(path), listener(clap, settings), clap, progress)
    return [HeardClip(vector, texts) for vector, texts in zip(sounds.vectors, sounds.references, strict=True)]
