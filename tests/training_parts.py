"""Small corpora, examples and runs that the tests of training share."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from torch import Tensor

from models.clap.sounds import Sounds
from models.prompt import Prompt, PromptTemplate
from models.vectors import FloatArray
from tests.fakes import FakeClap
from tests.tiny_bundle import tiny_captions
from training import run as training_run
from training.accelerator import make_accelerator
from training.batches import Batch
from training.corpora import EmbeddedCorpus, TrainingCorpus
from training.examples import Example, ExampleOptions, ExampleSource
from training.loss import CaptionLoss, caption_loss
from training.options import TrainOptions
from training.progress import read_log
from training.run import Job, train
from training.similarity import SelectionRange
from training.trainer import Trained

QUIET = Console(quiet=True)
OPTIONS = TrainOptions(steps=12, batch=2, every=4, warmup=2, fresh=True, rank=4, hidden=8, dropout=0.1, rate=5e-3)
TEMPLATE = PromptTemplate("{similar}\n{audio}:", "- {caption}", "\n", "-")


def unit_rows(count: int, seed: int = 0) -> FloatArray:
    """Random unit vectors [count, 8]."""
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def tiny_vectors(count: int) -> FloatArray:
    """The fake CLAP's vectors of the first tiny captions."""
    return FakeClap().embed_text(tiny_captions(count))


def embedded(captions: Sequence[str], vectors: FloatArray) -> EmbeddedCorpus:
    """A corpus of these captions with these vectors; no caption states an order of time."""
    return EmbeddedCorpus(TrainingCorpus("one", tuple(captions)), vectors, {})


def sounds(dimension: int, count: int = 30) -> Sounds:
    """Kinds of sound with random unit vectors [count, dimension]."""
    vectors = np.random.default_rng(7).normal(size=(count, dimension)).astype(np.float32)
    unit = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
    return Sounds(tuple(f"kind {i}" for i in range(count)), unit)


def example(vector: FloatArray, similar: tuple[str, ...], captions: tuple[str, ...]) -> Example:
    """An example whose captions share one vector."""
    return Example((Prompt(vector, similar),) * len(captions), captions)


def example_source(**options: Any) -> ExampleSource:
    """Examples of 60 captions with random vectors."""
    captions = [f"Sound number {i}." for i in range(60)]
    fields = {"noise": 0.5, "blind": 0.0} | options
    return ExampleSource(
        [embedded(captions, unit_rows(60))], sounds(8), ExampleOptions(SelectionRange(-0.5, 0.9), **fields)
    )


def job(base: Path, folder: Path, options: TrainOptions = OPTIONS, **changes: Any) -> Job:
    """A job on 80 tiny captions; bundle and work folder lie in `folder`."""
    fields: dict[str, Any] = {
        "base": base,
        "corpora": [TrainingCorpus("tiny", tuple(tiny_captions(80)))],
        "out": folder / "bundle",
        "work": folder / "work",
        "name": "mine",
        "licence": "CC0",
        "options": options,
    }
    return Job(**(fields | changes))


def run(job: Job, console: Console = QUIET) -> Trained:
    """Run a job on the CPU."""
    return train(job, FakeClap(), console, make_accelerator(job.options, "cpu", QUIET))


def losses(folder: Path) -> list[tuple[int, float]]:
    """Step and loss of every step in the log of a job."""
    return [(row["step"], row["loss"]) for row in read_log(folder / "work" / "log.jsonl") if "loss" in row]


class DoubleLoss(CaptionLoss):
    """Computes in float64.

    Adam divides a gradient by its size, so a gradient that is only rounding moves a weight as far as a real one.
    Rounding differs with kernels, threads and the order of sums. In float64 it is far below Adam's epsilon.
    """

    def __init__(self, loss: CaptionLoss) -> None:
        super().__init__(loss.llm, loss.projector)
        self.double()

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(replace(batch, vectors=batch.vectors.double()))


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Training runs compute in float64 while the context is open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "caption_loss", lambda *arguments: DoubleLoss(caption_loss(*arguments)))
        yield
