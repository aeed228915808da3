"""The contract of what captions: a CLAP, a decoder, and how the two are joined."""

from collections.abc import Sequence
from typing import Protocol

from models.clap.base import Clap
from models.conditioning.conditioning import Projecting
from models.decoder import Decoder, GenerationOptions


class Projection(Projecting, Protocol):
    """Pulls a vector onto the text side: `models.conditioning.projection.Projection`."""

    @property
    def temperature(self) -> float: ...


class Retrieval(Protocol):
    """How much of a domain a clip is shown: `k` captions in the prompt, `neighbours` in the projection."""

    @property
    def k(self) -> int: ...

    @property
    def neighbours(self) -> int: ...


class Segmentation(Protocol):
    """How a recording is divided into segments: `models.bundle.config.SegmentsSection`."""

    @property
    def similarity(self) -> float: ...

    @property
    def window_seconds(self) -> float: ...


class Bundle(Protocol):
    """Everything that captions: `models.bundle.load.LoadedBundle`."""

    @property
    def name(self) -> str: ...
    @property
    def clap(self) -> Clap: ...
    @property
    def decoder(self) -> Decoder: ...
    @property
    def decoders(self) -> Sequence[Decoder]:
        """The decoder, once for each batch that may be written at the same time: copies, or the same one again."""

    @property
    def device(self) -> str:
        """Where the decoder computes, such as ``cpu`` or ``cuda:0``; of several copies, with commas between."""

    @property
    def turns(self) -> int | None:
        """Batches of CLAP and decoder together that compute at a time, where both share the cores of a CPU."""

    @property
    def projection(self) -> Projection: ...
    @property
    def retrieval(self) -> Retrieval: ...
    @property
    def generation(self) -> GenerationOptions: ...
    @property
    def segments(self) -> Segmentation:
        """What serves this CLAP; the settings may say otherwise."""
