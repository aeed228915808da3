"""Measures a full-size bundle with the service's loading code and captioner, and its decoder beside transformers.

Each engine runs in each dtype or quantisation in a process of its own, which measures its memory alone.
"""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.child import answer_of
from benchmarks.full_size.bundle import TINY, Sizes, write_bundle
from benchmarks.report import BenchmarkReport

_NO_GPU = "there was no GPU; this benchmark has never been run on one"


@dataclass(frozen=True)
class FullSizeSettings:
    """The settings of a measurement.

    Attributes:
        device: as DRCAP_DEVICE.
        ways: dtypes or quantisations of the LLM, each measured alone.
        batches: numbers of prompts in a batch.
        tokens: to write for each prompt.
        captions: of the domain.
        tiny: a few thousand parameters instead, to try the benchmark itself.
    """

    device: str = "auto"
    ways: tuple[str, ...] = ("float32", "int8")
    batches: tuple[int, ...] = (1, 8)
    tokens: int = 16
    captions: int = 300
    tiny: bool = False


def run(settings: FullSizeSettings, report: BenchmarkReport, console: Console) -> None:
    """Measure into the report."""
    sizes = TINY if settings.tiny else Sizes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bundle"
        folder.mkdir()
        console.print("full size: writing a bundle of random weights")
        write_bundle(folder, sizes)
        for way in settings.ways:
            for engine in ("drcap", "transformers"):
                if engine == "transformers" and way in ("int8", "int4", "fp8"):
                    continue  # transformers does not quantise by itself
                console.print(f"full size: {engine} in {way}")
                for row in _measured(engine, way, folder, settings):
                    report.rows.append({"what": f"{engine}, {way}: {row.pop('what')}", **row})
    report.notes += [
        "random weights: the captions mean nothing, their cost is that of real weights",
        "peak_mb includes pages of the weights' files, which the system can drop; anonymous_mb does not",
        "read_gb_per_s: of weights, if each step reads all once; bandwidth_gb_per_s: of numbers in one long sum",
    ]
    if not torch.cuda.is_available():
        report.notes.append(_NO_GPU)


def _measured(engine: str, way: str, folder: Path, settings: FullSizeSettings) -> list[dict[str, Any]]:
    asked = json.dumps({"engine": engine, "way": way, "folder": str(folder), **asdict(settings)})
    rows: list[dict[str, Any]] = answer_of("benchmarks.full_size.process", asked)
    return rows
