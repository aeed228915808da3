"""The bundle: one folder that fully says how captions are made."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.clap.aisfx import WrongWeights
from models.clap.base import Clap
from models.clap.loading import Backend, load_backend
from models.conversion import default_cache, load_converted
from models.decoder import Decoder, GenerationOptions
from models.device import choose_device
from models.execution import begin_batches
from models.llm import Llm, load_llm
from models.llm_decoder import LlmDecoder
from models.packages import package_file
from models.projection import Projection
from models.projector import Projector
from models.prompt import PromptTemplate

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
PROJECTOR = "projector.safetensors"
ADAPTER = "adapter"


class BundleError(RuntimeError):
    """A bundle that is not there, or not as it should be; the message names the file."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClapSection(_Section):
    """Which CLAP hears: see `models.clap.loading.ClapSource`."""

    backend: Backend
    source: str
    revision: str
    tokenizer: str | None = None
    centring: str | None = None


class LlmSection(_Section):
    """Which LLM writes. `source`: ``package:NAME/FILE`` for a file in an installed package, or a folder."""

    source: str
    revision: str
    dtype: Literal["float32"] = "float32"
    quantisation: Literal["none", "int8"] = "none"


class PromptSection(_Section):
    """See `models.prompt.PromptTemplate`."""

    template: str
    similar_item: str
    separator: str
    none: str

    def as_template(self) -> PromptTemplate:
        """What writes the prompts."""
        return PromptTemplate(self.template, self.similar_item, self.separator, self.none)


class ProjectionSection(_Section):
    """See `models.projection.Projection`; without a temperature the CLAP's own is tau."""

    temperature: float | None = Field(default=None, gt=0)
    renormalise: bool = True


class RetrievalSection(_Section):
    """Captions in the prompt (k) and neighbours in the projection."""

    k: int = Field(ge=0, le=32)
    neighbours: int = Field(ge=1, le=4096)


class GenerationSection(_Section):
    """Defaults of `models.decoder.GenerationOptions`."""

    num_beams: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    max_new_tokens: int = Field(default=48, ge=1)
    seed: int = 0


class BundleConfig(_Section):
    """The content of `bundle.json`."""

    format_version: Literal[1]
    name: str
    clap: ClapSection
    llm: LlmSection
    prompt: PromptSection
    projection: ProjectionSection
    retrieval: RetrievalSection
    generation: GenerationSection
    provenance: dict[str, Any]
    licences: dict[str, str]


@dataclass(frozen=True)
class LoadedBundle:
    """Everything that makes captions, ready to run."""

    name: str
    clap: Clap
    decoder: Decoder
    projection: Projection
    retrieval: RetrievalSection
    generation: GenerationOptions


def bundle_folder(source: str) -> Path:
    """``embedded`` or a path -> the bundle's folder."""
    return Path(__file__).parent / EMBEDDED if source == EMBEDDED else Path(source)


def read_config(folder: Path) -> BundleConfig:
    """Read and check `bundle.json`. Raises `BundleError`."""
    path = folder / "bundle.json"
    try:
        return BundleConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BundleError(f"no bundle at {folder}: {error}") from error
    except (ValueError, ValidationError) as error:
        raise BundleError(f"{path} is not a valid bundle.json: {error}") from error


def load_bundle(source: str = EMBEDDED, device: str = "auto", cache: Path | None = None) -> LoadedBundle:
    """Load a bundle: CLAP, LLM with adapter and projector, projection, defaults. Takes seconds.

    Args:
        source: ``embedded`` or a folder.
        device: see `models.device.choose_device`.
        cache: folder for converted weights; by default the user's cache folder.

    Raises:
        BundleError: something of the bundle is missing or does not fit.
        MissingWeights: a package with weights is not installed.
        ValueError: the device does not exist.
    """
    folder = bundle_folder(source)
    config = read_config(folder)
    plan = choose_device(device)
    clap = load_clap(config.clap, folder, plan.device)
    decoder = load_decoder(folder, config, clap.embedding_dim, plan.device, cache)
    tau = config.projection.temperature or clap.temperature
    return LoadedBundle(
        name=config.name,
        clap=clap,
        decoder=decoder,
        projection=Projection(tau, config.projection.renormalise),
        retrieval=config.retrieval,
        generation=GenerationOptions(**config.generation.model_dump()),
    )


def load_decoder(
    folder: Path, config: BundleConfig, embedding_dim: int, device: torch.device, cache: Path | None = None
) -> LlmDecoder:
    """LLM with the bundle's adapter merged in, and its projector; int8, if the bundle says so, on CPU only."""
    llm = load_source(config.llm.source, cache)
    merge_adapter(llm, folder / ADAPTER)
    try:
        projector = Projector.load(folder / PROJECTOR, embedding_dim, llm.hidden_size)
    except (OSError, ValueError) as error:
        raise BundleError(f"the projector of {folder} cannot be used: {error}") from error
    llm.model.to(device)
    return LlmDecoder(
        llm,
        projector,
        config.prompt.as_template(),
        f"{config.name}: {config.llm.source.rsplit('/', 1)[-1]}",
        begin_batches(llm, config.llm.quantisation == "int8"),
    )


def load_source(source: str, cache: Path | None = None) -> Llm:
    """Load an LLM as `LlmSection.source` names it."""
    if source.startswith("package:"):
        package, _, file = source.removeprefix("package:").partition("/")
        return load_converted(package_file(package, file), cache or default_cache())
    path = Path(source)
    return load_converted(path, cache or default_cache()) if path.suffix == ".gguf" else load_llm(path)


def load_clap(section: ClapSection, folder: Path, device: torch.device) -> Clap:
    """The CLAP of a bundle in `folder`.

    Raises:
        MissingWeights: a file or package is missing, or the hub cannot be reached.
        BundleError: a file does not hold what it should; the message names it.
    """
    try:
        return load_backend(section, folder, device)
    except WrongWeights as error:
        raise BundleError(f"the CLAP of {folder} cannot be used: {error}") from error


def merge_adapter(llm: Llm, folder: Path) -> None:
    """Add the LoRA to the weights it adapts (PEFT's format), so that decoding costs nothing more."""
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise BundleError(f"the bundle's adapter is missing: {folder}/adapter_model.safetensors")
    adapted: Any = PeftModel.from_pretrained(llm.model, str(folder), local_files_only=True)
    adapted.merge_and_unload()
