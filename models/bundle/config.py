"""What `bundle.json` says, checked."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.clap.backend import ClapSection
from models.device.plan import Dtype, Quantisation
from models.prompt import PromptTemplate

EMBEDDED = "embedded"
PROJECTOR = "projector.safetensors"
ADAPTER = "adapter"


class BundleError(RuntimeError):
    """A bundle that is not there, or not as it should be; the message names the file."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LlmSection(_Section):
    """Which LLM writes, and how it would best be run.

    Attributes:
        source, revision: see `models.llm.sources.find_llm`.
        dtype, quantisation: what the bundle prefers; see `models.device.plan.choose_plan`.
        adapter: whether a LoRA for it lies in the bundle.
    """

    source: str
    revision: str
    dtype: Dtype = "auto"
    quantisation: Quantisation = "none"
    adapter: bool = True


class ChatSection(_Section):
    """The prompt is a user's message (`models.llm.chat`), after the message `system` if there is one."""

    system: str | None = None


class PromptSection(_Section):
    """See `models.prompt.PromptTemplate`."""

    template: str
    similar_item: str
    separator: str
    none: str
    chat: ChatSection | None = None

    def as_template(self) -> PromptTemplate:
        """The prompt itself, without the chat around it; `models.bundle.load.prompt_template` has both."""
        return PromptTemplate(self.template, self.similar_item, self.separator, self.none)


class ProjectionSection(_Section):
    """See `models.conditioning.projection.Projection`; without a temperature the CLAP's own is tau."""

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


class SegmentsSection(_Section):
    """How a recording is divided where its answer has times; what serves depends on how the CLAP hears.

    Attributes:
        similarity: cosine from which what follows each other is one segment with one caption.
        window_seconds: of a recording that are compared with the next.
    """

    # For a bundle that states none. They served aisfx alone best, on recordings put one behind the other, some thirty
    # in ten minutes: cosines of 0.6 to 0.75 or 5 s lost 0.01 of the F with which it found the borders.
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
    """``embedded`` or a path -> the bundle's folder."""
    return Path(__file__).parents[1] / EMBEDDED if source == EMBEDDED else Path(source)


def read_config(folder: Path) -> BundleConfig:
    """Read and check `bundle.json`. Raises `BundleError`."""
    path = folder / "bundle.json"
    try:
        return BundleConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BundleError(f"no bundle at {folder}: {error}") from error
    except (ValueError, ValidationError) as error:
        raise BundleError(f"{path} is not a valid bundle.json: {error}") from error
