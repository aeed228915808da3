"""Shows and logs a run: a progress bar, ``log.jsonl`` and a plot of the losses."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY = 10
_SMOOTH = 0.95


class RunLog:
    """Implements `training.trainer.Watcher`; a context manager around the run.

    ``log.jsonl`` has a line for each step (step, loss, rate, tokens) and for each validation (step, validation,
    better). Loss, tokens a second and the time left are shown in a bar on a terminal, elsewhere every ten steps.
    """

    def __init__(self, path: Path, steps: int, console: Console) -> None:
        self._path = path
        self._steps = steps
        self._console = console
        self._started = time.monotonic()
        self._first, self._tokens, self._loss = 0, 0, 0.0
        self._bar = Progress(
            TextColumn("{task.fields[what]}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=steps, what="training", figures="")

    def __enter__(self) -> "RunLog":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def resumed(self, step: int) -> None:
        """Drop the lines of steps after the last checkpoint."""
        rows = [row for row in read_log(self._path) if row["step"] <= step]
        unfinished = self._path.with_suffix(".new")
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        unfinished.replace(self._path)
        self._first = step
        self._bar.update(self._task, completed=step)
        self._console.print(f"continuing after step {step}")

    def stepped(self, step: int, loss: float, tokens: int, rate: float) -> None:
        """Log and show a step."""
        self._write({"step": step, "loss": loss, "rate": rate, "tokens": tokens})
        done = step - self._first
        self._tokens += tokens
        self._loss = loss if done == 1 else _SMOOTH * self._loss + (1 - _SMOOTH) * loss
        elapsed = time.monotonic() - self._started
        figures = f"loss {self._loss:.3f}, {self._tokens / elapsed:.0f} tokens/s"
        self._bar.update(self._task, completed=step, figures=figures)
        if not self._console.is_terminal and (step % _LINE_EVERY == 0 or step == self._steps):
            left = elapsed / done * (self._steps - step)
            self._console.print(f"step {step}/{self._steps}: {figures}, {left / 60:.0f} min left")

    def validated(self, step: int, losses: Mapping[str, float], better: bool) -> None:
        """Log and show a validation."""
        self._write({"step": step, "validation": dict(losses), "better": better})
        shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._console.print(f"step {step}: validation {shown}{' (best so far)' if better else ''}")

    def _write(self, row: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``log.jsonl``, without a last line that a kill cut short."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def plot_losses(log: Path, picture: Path) -> None:
    """Plot the losses of a ``log.jsonl`` as PNG. Raises `ImportError` without matplotlib (``drcap[train]``)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_log(log)
    steps = [row for row in rows if "loss" in row]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([row["step"] for row in steps], [row["loss"] for row in steps], color="0.8", linewidth=0.8, label="step")
    smooth, value = [], 0.0
    for number, row in enumerate(steps):
        value = row["loss"] if number == 0 else _SMOOTH * value + (1 - _SMOOTH) * row["loss"]
        smooth.append(value)
    axes.plot([row["step"] for row in steps], smooth, color="C0", label="training, smoothed")
    checks = [row for row in rows if "validation" in row]
    for number, name in enumerate(checks[0]["validation"] if checks else ()):
        values = [row["validation"][name] for row in checks]
        axes.plot(
            [row["step"] for row in checks], values, f"C{number + 1}o-", markersize=3, label=f"validation, {name}"
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss a token")
    axes.legend()
    figure.savefig(picture, dpi=120)
