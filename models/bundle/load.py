"""Loads a bundle to run: CLAP, LLM with adapter and projector, projection, and the bundle's defaults."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError

from models.bundle.config import (
    ADAPTER,
    EMBEDDED,
    PROJECTOR,
    BundleConfig,
    BundleError,
    LlmSection,
    PromptSection,
    bundle_folder,
    read_config,
)
from models.bundle.loaded import LoadedBundle
from models.clap.backend import ClapSection
from models.clap.base import Clap
from models.clap.loading import load_backend
from models.conditioning.projection import Projection
from models.decoder import GenerationOptions
from models.device.plan import DevicePlan, SettingNames, Wishes, choose_plan
from models.llm.adapter import merge_lora
from models.llm.batch_check import LlmCheck
from models.llm.chat import in_chat
from models.llm.decoder import LlmDecoder
from models.llm.execution import begin_batches
from models.llm.gguf_conversion import default_cache, load_converted
from models.llm.language_model import Llm, load_llm
from models.llm.placement import NoRoom, place_llm
from models.llm.projector import Projector
from models.llm.prompt_batch import PromptBatch
from models.llm.quantisation import MissingLibrary
from models.llm.sources import find_llm
from models.prompt import PromptTemplate
from models.weights import MissingWeights, WrongWeights

logger = logging.getLogger(__name__)
_PLAIN_NAMES = SettingNames()


def load_bundle(
    source: str = EMBEDDED, device: str = "auto", cache: Path | None = None, wishes: Wishes | None = None
) -> LoadedBundle:
    """Load a bundle: CLAP, LLM with adapter and projector, projection, defaults. Takes seconds.

    Args:
        source: ``embedded`` or a folder.
        device: device for everything; `wishes` takes its place.
        cache: folder for converted weights; by default the user's cache folder.
        wishes: how the models should run.

    Raises:
        BundleError: a part of the bundle does not fit the others or this machine.
        MissingWeights: weights are not on this machine and cannot be fetched.
        ValueError: this machine cannot meet a wish.
    """
    folder = bundle_folder(source)
    config = read_config(folder)
    plan = choose_plan(wishes or Wishes(device), config.llm.preferences)
    for line in plan.lines():
        logger.info("%s", line)
    clap = load_clap(config.clap, folder, plan.clap.value)
    # Every copy is read from the files: to copy it in memory would need twice the memory.
    first, *more = [load_decoder(folder, config, clap.embedding_dim, plan, where, cache) for where in plan.llm.value]
    tau = config.projection.temperature or clap.temperature
    return LoadedBundle(
        name=config.name,
        clap=clap,
        decoder=first,
        projection=Projection(tau, config.projection.renormalise),
        retrieval=config.retrieval,
        generation=GenerationOptions(**config.generation.model_dump()),
        plan=plan,
        copies=tuple(more),
        segments=config.segments,
    )


def load_decoder(
    folder: Path,
    config: BundleConfig,
    embedding_dim: int,
    plan: DevicePlan,
    device: torch.device,
    cache: Path | None = None,
) -> LlmDecoder:
    """Load the LLM, merge the bundle's adapter into it, load its projector, and place all on `device` as planned.

    Raises `BundleError` or `MissingWeights`.
    """
    llm = load_source(config.llm, folder, cache, plan.dtype.value, plan.names)
    if config.llm.adapter:
        merge_adapter(llm, folder / ADAPTER)
    template = prompt_template(config.prompt, llm)
    with _named(f"the projector of {folder}"):
        projector = Projector.load(folder / PROJECTOR, embedding_dim, llm.hidden_size)
    with _named(f"the LLM of {folder}"):
        # A quantised LLM is checked against itself before. Any other is checked where it runs, because CPUs are slow in
        # half precision.
        quantised = plan.quantisation.value != "none"
        before = LlmCheck(llm, plan.names.dtype) if quantised else None
        if before is not None and device.type == "cpu":
            # This check is strict only while the weights are not rounded to few levels.
            before(partial(PromptBatch, llm.model))
        place_llm(llm, plan, device)
        check = before or LlmCheck(llm, plan.names.dtype)
        begin = begin_batches(llm, int8=plan.quantisation.value == "int8" and device.type == "cpu")
        check(begin, quantised)
    return LlmDecoder(llm, projector, template, f"{config.name}: {config.llm.source.rsplit('/', 1)[-1]}", begin)


def load_source(
    section: LlmSection,
    folder: Path,
    cache: Path | None = None,
    dtype: torch.dtype = torch.float32,
    names: SettingNames = _PLAIN_NAMES,
) -> Llm:
    """Load the LLM that the section names, without adapter, on the CPU. `folder` is the bundle's.

    Raises `BundleError` or `MissingWeights`.
    """
    with _named("the LLM"):
        path = find_llm(section.source, section.revision, folder, names.quantisation)
        if path.suffix == ".gguf":
            return load_converted(path, cache or default_cache(), dtype, names.cache)
        return load_llm(path, dtype)


def prompt_template(section: PromptSection, llm: Llm) -> PromptTemplate:
    """Return the template of this LLM's prompts, in training and at inference. Raises `BundleError`."""
    with _named("the prompt"):
        template = section.as_template()
        return template if section.chat is None else in_chat(template, llm.tokenizer, section.chat.system)


def load_clap(section: ClapSection, folder: Path, device: torch.device) -> Clap:
    """Load the CLAP of the bundle in `folder`.

    Raises:
        MissingWeights: a file or package is missing, or the hub cannot be reached.
        BundleError: a file does not hold what it should; the message names it.
    """
    with _named(f"the CLAP of {folder}"):
        return load_backend(section, folder, device)


def merge_adapter(llm: Llm, folder: Path) -> None:
    """Add the LoRA in `folder` to the weights it adapts (`models.llm.adapter`). Raises `BundleError`."""
    try:
        with _named("the bundle's adapter"):
            merge_lora(llm, folder)
    except MissingWeights as error:
        raise BundleError(
            f"the bundle's adapter is missing: {error} (if there is none, set llm.adapter to false in bundle.json)"
        ) from error


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Turn errors about a part of the bundle into a `BundleError` that names it; let `MissingWeights` pass."""
    try:
        yield
    except (WrongWeights, NoRoom, MissingLibrary, SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{part} cannot be used: {error}") from error
