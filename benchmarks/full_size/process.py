"""Measures one engine in this process: ``python -m benchmarks.full_size.process JSON`` prints rows as JSON."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.captions import load_captions
from benchmarks.report import memory
from models.bundle.config import ADAPTER, PROJECTOR, read_config
from models.bundle.load import load_source, merge_adapter, prompt_template
from models.bundle.loaded import LoadedBundle
from models.decoder import GenerationOptions
from models.device.plan import DevicePlan, choose_plan
from models.llm.projector import Projector
from models.prompt import Prompt, encode_prompt
from service.audio.decoding import Recording
from service.captioning.batched_models import BatchedModels
from service.captioning.captioner import Captioner, CaptionOptions, CaptionRequest
from service.captioning.stopwatch import Stopwatch
from service.loading import load_bundle, wishes
from service.settings import LlmSettings, Settings

_SECONDS_OF_AUDIO = 10.0
_READ_BYTES = 1 << 30
_READS = 3
_QUANTISED = ("int8", "int4", "fp8")
Row = dict[str, Any]
Write = Callable[[int], int]
"""Writes captions for a number of prompts and returns the number of tokens written."""


def main() -> None:
    """Run the measurement that the argument describes."""
    asked = json.loads(sys.argv[1])
    way = asked["way"]
    llm = LlmSettings(quantisation=way) if way in _QUANTISED else LlmSettings(dtype=way, quantisation="none")
    settings = Settings(bundle=asked["folder"], device=asked["device"], llm=llm)
    rows = _drcap(settings, asked) if asked["engine"] == "drcap" else _transformers(settings, asked)
    sys.stdout.write("\n" + json.dumps(rows) + "\n")


def _drcap(settings: Settings, asked: Row) -> list[Row]:
    started = time.perf_counter()
    bundle = load_bundle(settings)
    rows = [{"what": "load", "seconds": time.perf_counter() - started, **_memory()}]
    rows.append(asyncio.run(_caption_one(bundle, settings, asked)))
    options = GenerationOptions(max_new_tokens=asked["tokens"], no_repeat=0)

    def write(count: int) -> int:
        written = bundle.decoder.generate(_prompts(bundle.clap.embedding_dim, count), options)
        # The count includes an end token, which a caption of the greatest length does not have.
        return sum(min(one.tokens, asked["tokens"]) for one in written)

    return rows + _throughput(write, _weight_bytes(settings), asked)


async def _caption_one(bundle: LoadedBundle, settings: Settings, asked: Row) -> Row:
    """A domain is registered and one clip captioned in it, by the service's own captioner."""
    from datastores.edge.store import EdgeStore
    from datastores.registration import register

    models = BatchedModels(bundle, settings.batching, settings.admission.captions)
    await models.start()
    with tempfile.TemporaryDirectory() as folder:
        store = await EdgeStore.open(Path(folder))
        try:
            captioner = Captioner(bundle, store, models)
            started = time.perf_counter()
            await register(store, "benchmark", load_captions(None, asked["captions"]), bundle.clap)
            registered = time.perf_counter() - started
            rate = bundle.clap.sample_rate
            noise = 0.1 * np.random.default_rng(0).standard_normal(round(_SECONDS_OF_AUDIO * rate))
            recording = Recording(noise.astype(np.float32), rate, _SECONDS_OF_AUDIO)
            options = CaptionOptions(3, GenerationOptions(max_new_tokens=asked["tokens"], no_repeat=0))
            version, watch = await store.resolve("benchmark"), Stopwatch()
            caption = await captioner.caption(CaptionRequest(recording, version, options, watch))
        finally:
            await store.close()
            await models.close()
    stages = {f"{stage}_s": seconds for stage, seconds in watch.seconds.items()}
    rate = asked["captions"] / registered
    return {"what": "one clip", **stages, "tokens": caption.tokens, "texts_per_s": rate, **_memory()}


def _transformers(settings: Settings, asked: Row) -> list[Row]:
    """Measure the same LLM, adapter, projector and prompts in transformers' own `generate`."""
    folder = Path(settings.bundle)
    config = read_config(folder)
    plan = choose_plan(wishes(settings), config.llm.preferences)
    device = plan.llm.value[0]
    started = time.perf_counter()
    llm = load_source(config.llm, folder, None, plan.dtype.value)
    merge_adapter(llm, folder / ADAPTER)
    llm.model.to(device)
    template = prompt_template(config.prompt, llm)
    from safetensors import safe_open

    with safe_open(folder / PROJECTOR, "pt") as file:
        dimension = file.get_slice("linear1.weight").get_shape()[1]
    projector = Projector.load(folder / PROJECTOR, dimension, llm.hidden_size)
    rows = [{"what": "load", "seconds": time.perf_counter() - started, **_memory()}]
    table = llm.model.get_input_embeddings()

    @torch.inference_mode()
    def write(count: int) -> int:
        embeds = []
        for prompt in _prompts(dimension, count):
            before, after = encode_prompt(llm, template, prompt)
            audio = projector(torch.from_numpy(prompt.vector)[None])[0].to(device, plan.dtype.value)
            sides = (table(torch.tensor(side, device=device)) for side in (before, after))
            embeds.append(torch.cat([next(sides), audio, next(sides)]))
        # All prompts have the same length, so no padding and no mask are needed.
        answer = llm.model.generate(
            inputs_embeds=torch.stack(embeds),
            attention_mask=torch.ones(count, len(embeds[0]), dtype=torch.long, device=device),
            max_new_tokens=asked["tokens"],
            min_new_tokens=asked["tokens"],
            do_sample=False,
            num_beams=1,
            pad_token_id=llm.end_token,
        )
        return int(answer.numel())

    return rows + _throughput(write, _weight_bytes(settings), asked)


def _throughput(write: Write, weight_bytes: float, asked: Row) -> list[Row]:
    rows = []
    for batch in asked["batches"]:
        write(batch)
        seconds, tokens = _timed(write, batch)
        read = tokens / batch / seconds * weight_bytes
        rates = {"captions_per_s": batch / seconds, "tokens_per_s": tokens / seconds, "read_gb_per_s": read / 1e9}
        rows.append({"what": f"batch of {batch}", **rates, **_memory()})
    # Measured last: its buffer would count as memory of the engine.
    bandwidth = _bandwidth(asked["device"]) / 1e9
    return [{**row, "bandwidth_gb_per_s": bandwidth, "of_bandwidth": row["read_gb_per_s"] / bandwidth} for row in rows]


def _timed(write: Write, batch: int) -> tuple[float, int]:
    _synchronise()
    started = time.perf_counter()
    tokens = write(batch)
    _synchronise()
    return time.perf_counter() - started, tokens


def _bandwidth(wish: str) -> float:
    """Return the bytes a second that the device reads in one long sum."""
    from models.device.plan import choose_device

    device = choose_device(wish.split(",")[0]).device
    size = _READ_BYTES if device.type != "cpu" else _READ_BYTES // 4
    numbers = torch.ones(size // 4, device=device)
    numbers.sum()
    _synchronise()
    started = time.perf_counter()
    for _ in range(_READS):
        numbers.sum()
    _synchronise()
    return _READS * size / (time.perf_counter() - started)


def _weight_bytes(settings: Settings) -> float:
    """Return the bytes of weights that one step reads; it reads tied embeddings once, as the output layer."""
    from models.llm.sizes import read_llm_sizes

    folder = Path(settings.bundle)
    sizes = read_llm_sizes(folder / "llm")
    plan: DevicePlan = choose_plan(wishes(settings), read_config(folder).llm.preferences)
    if plan.quantisation.value == "none":
        return float(sizes.parameters * plan.dtype.value.itemsize)
    table = sizes.vocabulary * sizes.hidden
    width = 0.5 if plan.quantisation.value == "int4" else 1.0
    # On a CPU the output layer is quantised like the others, on a GPU it is not.
    head = width if plan.llm.value[0].type == "cpu" else plan.dtype.value.itemsize
    return width * (sizes.parameters - table) + head * table


def _prompts(dimension: int, count: int) -> Sequence[Prompt]:
    vector = np.cos(np.arange(dimension, dtype=np.float32))
    similar = tuple(load_captions(None, 50)[:3])
    return [Prompt(vector / np.linalg.norm(vector), similar)] * count


def _memory() -> Row:
    """Return the memory of this process now, at its highest so far, and on the GPU."""
    found: Row = dict(memory(peak=True))
    if torch.cuda.is_available():
        found["gpu_peak_mb"] = torch.cuda.max_memory_allocated() / (1 << 20)
    return found


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
