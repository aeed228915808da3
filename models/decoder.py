"""The contract of a decoder, which turns prompts into captions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.prompt import Prompt

Gone = Callable[[int], bool]
"""Whether the client that asked for the prompt at this index has left."""


@dataclass(frozen=True)
class GenerationOptions:
    """How one caption is written.

    Attributes:
        num_beams: width of the beam search; 1 is greedy.
        temperature: 0 writes the likeliest caption; above 0 samples and allows no beams.
        max_new_tokens: longest caption in tokens.
        seed: seed of the sampling; the same prompt, options and seed give the same caption.
        guidance: weight of the neighbours' words beside the LLM, 0 to 1 (`models.llm.guidance`).
        no_repeat: a caption has no run of this many tokens twice; 0 allows repetition. Small models tend to loop.
    """

    num_beams: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 48
    seed: int = 0
    guidance: float = 0.0
    no_repeat: int = 3

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise ValueError(f"num_beams is at least 1, got {self.num_beams}")
        if self.temperature < 0:
            raise ValueError(f"temperature is at least 0, got {self.temperature}")
        if self.temperature > 0 and self.num_beams > 1:
            raise ValueError("temperature above 0 samples and goes with num_beams 1 only")
        if self.no_repeat < 0 or self.no_repeat == 1:
            raise ValueError(f"no_repeat is 0 or at least 2, got {self.no_repeat}")
        if not 0 <= self.guidance < 1:
            raise ValueError(f"guidance is at least 0 and below 1, got {self.guidance}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is at least 1, got {self.max_new_tokens}")


@dataclass(frozen=True)
class Generated:
    """A caption.

    Attributes:
        text: the likeliest caption found.
        tokens: number of tokens, with the end token.
        alternatives: other captions that the beam search found, likeliest first.
    """

    text: str
    tokens: int
    alternatives: tuple[str, ...] = ()


def nobody(_: int) -> bool:
    """Say that no client has left."""
    return False


class Decoder(Protocol):
    """Writes captions. The answer for a prompt never depends on what else is in the batch."""

    @property
    def model_name(self) -> str:
        """The name in answers and logs."""

    def generate(self, prompts: Sequence[Prompt], options: GenerationOptions, gone: Gone = nobody) -> list[Generated]:
        """Write one caption a prompt, in order.

        Args:
            prompts: one prompt a caption.
            options: how the captions are written.
            gone: asked before each token. A prompt whose client has left leaves the batch with a caption cut short.
        """
