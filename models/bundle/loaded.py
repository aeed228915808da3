"""A loaded bundle: everything that captions. Importing this module loads neither torch nor transformers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.clap.base import Clap
from models.conditioning.projection import Projection
from models.decoder import Decoder, GenerationOptions

if TYPE_CHECKING:
    from models.bundle.config import RetrievalSection, SegmentsSection
    from models.device.plan import DevicePlan


@dataclass(frozen=True)
class LoadedBundle:
    """The parts of a bundle, ready to run.

    Attributes:
        name: the bundle's name.
        clap: hears and reads.
        decoder: writes.
        projection: pulls an audio embedding onto the text side.
        retrieval: similar captions in a prompt (k), and neighbours in the projection.
        generation: how captions are written unless a request says otherwise.
        segments: how a recording is divided into segments unless the settings say otherwise.
        plan: where and how the models run, if that was planned.
        writers: batches that each copy of the decoder may write at the same time.
        copies: further copies of the decoder, each on a GPU of its own.
        turns: batches of CLAP and decoder together that compute at a time, where both share the cores of a CPU.
    """

    name: str
    clap: Clap
    decoder: Decoder
    projection: Projection
    retrieval: "RetrievalSection"
    generation: GenerationOptions
    segments: "SegmentsSection"
    plan: "DevicePlan | None" = None
    writers: int = 1
    copies: tuple[Decoder, ...] = ()
    turns: int | None = None

    @property
    def decoders(self) -> tuple[Decoder, ...]:
        """The decoder and its copies, each once for each batch that it may write at the same time."""
        return (self.decoder, *self.copies) * self.writers

    @property
    def device(self) -> str:
        """The devices of the decoder and its copies, separated by commas, such as ``cpu`` or ``cuda:0,cuda:1``."""
        return "cpu" if self.plan is None else ",".join(map(str, self.plan.llm.value))
