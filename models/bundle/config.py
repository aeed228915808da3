"""The content of ``bundle.json``, read and checked."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.clap.backend import ClapSection
from models.device.plan import Dtype, Preferences, Quantisation
from models.prompt import PromptTemplate

EMBEDDED = "embedded"
PROJECTOR = "projector.safetensors"
ADAPTER = "adapter"


class BundleError(RuntimeError):
    """A bundle is missing or wrong; the message names the file."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LlmSection(_Section):
    """Which LLM writes, and how it runs best.

    Attributes:
        source, revision: see `models.llm.sources.find_llm`.
        dtype, quantisation: what the bundle prefers; see `models.device.plan.choose_plan`.
        adapter: whether the bundle has a LoRA for the LLM.
    """

    source: str
    revision: str
    dtype: Dtype = "auto"
    quantisation: Quantisation = "none"
    adapter: bool = True

    @property
    def preferences(self) -> Preferences:
        """The bundle's part in the choice of a plan."""
        return Preferences(self.dtype, self.quantisation)


class ChatSection(_Section):
    """The prompt is a user's message (`models.llm.chat`); the message `system`, if set, stands before it."""

    system: str | None = None


class PromptSection(_Section):
    """The prompt's text: see `models.prompt.PromptTemplate`."""

    template: str
    similar_item: str
    separator: str
    none: str
    no_sounds: str = ""
    chat: ChatSection | None = None

    def as_template(self) -> PromptTemplate:
        """Return the prompt itself; `models.bundle.load.prompt_template` adds the chat around it."""
        return PromptTemplate(self.template, self.similar_item, self.separator, self.none, self.no_sounds)


class ProjectionSection(_Section):
    """See `models.conditioning.projection.Projection`. Without a temperature, tau is the CLAP's own."""

    temperature: float | None = Field(default=None, gt=0)
    renormalise: bool = True


class RetrievalSection(_Section):
    """How many captions stand in the prompt (`k`) and how many neighbours enter the projection."""

    k: int = Field(ge=0, le=32)
    neighbours: int = Field(ge=1, le=4096)


class GenerationSection(_Section):
    """The bundle's values for `models.decoder.GenerationOptions`."""

    num_beams: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    max_new_tokens: int = Field(default=48, ge=1)
    seed: int = 0
    guidance: float = Field(default=0.0, ge=0, lt=1)


class SegmentsSection(_Section):
    """How a recording is divided into segments with times. The best values depend on the CLAP.

    Attributes:
        similarity: cosine from which two stretches in a row belong to one segment with one caption.
        window_seconds: length of the stretches that are compared.
    """

    # The defaults are for a bundle that states none. They were best for aisfx alone, on recordings joined end to end,
    # about thirty in ten minutes. Cosines of 0.6 to 0.75, or 5 s, lost 0.01 of the F score of the borders.
    similarity: float = Field(default=0.65, ge=-1, le=1)
    window_seconds: float = Field(default=4.5, ge=1)


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
    segments: SegmentsSection = SegmentsSection()
    provenance: dict[str, Any]
    licences: dict[str, str]


def bundle_folder(source: str) -> Path:
    """Return the folder of a bundle: ``embedded`` or a path."""
    return Path(__file__).parents[1] / EMBEDDED if source == EMBEDDED else Path(source)


def read_config(folder: Path) -> BundleConfig:
    """Read and check a bundle's ``bundle.json``. Raises `BundleError`."""
    path = folder / "bundle.json"
    try:
        return BundleConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BundleError(f"no bundle at {folder}: {error}") from error
    except (ValueError, ValidationError) as error:
        raise BundleError(f"{path} is not a valid bundle.json: {error}") from error
