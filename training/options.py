"""Options of a training run."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainOptions:
    """How a decoder is trained; `training.examples.ExampleOptions` says how its examples are drawn.

    Attributes:
        steps: optimiser steps.
        batch: prompts in a batch; each has up to `ExampleOptions.targets` captions.
        accumulate: batches of each process in a step.
        rate: highest learning rate of AdamW.
        warmup: steps until that rate is reached.
        decay: share of the steps, at the end, over which the rate falls linearly to zero.
        seed: of every random choice.
        every: steps between checkpoints, each with a validation.
        patience: validations without a better loss before training stops; 0 never stops early.
        held_out: most captions of each corpus that are held out for validation.
        fresh: begin with a new projector and LoRA, not with the bundle's.
        rank: of the LoRA on queries and values; it is half as large on the other linear layers.
        dropout: of the LoRA.
        audio_tokens, hidden: size of a fresh projector.
        precision: ``auto`` is bfloat16 on a GPU that supports it, else float32.
    """

    steps: int = 1000
    batch: int = 3
    accumulate: int = 1
    rate: float = 6e-4
    warmup: int = 40
    decay: float = 0.5
    seed: int = 0
    every: int = 50
    patience: int = 0
    held_out: int = 256
    fresh: bool = False
    rank: int = 16
    dropout: float = 0.0
    audio_tokens: int = 4
    hidden: int = 1024
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "every", "held_out", "audio_tokens", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, got {getattr(self, name)}")
        if self.rank < 2:
            raise ValueError(f"rank is at least 2, got {self.rank}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision is one of {', '.join(get_args(Precision))}, got {self.precision!r}")
        if not self.rate > 0:
            raise ValueError(f"rate is above 0, got {self.rate}")
        if not (0 <= self.decay <= 1 and 0 <= self.dropout < 1):
            raise ValueError(f"decay and dropout are shares, got {self.decay} and {self.dropout}")
        if self.warmup < 0 or self.patience < 0:
            raise ValueError(f"warmup and patience are not negative, got {self.warmup} and {self.patience}")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        decaying = max(1, int(self.steps * self.decay))
        return self.rate * min(1.0, (step + 1) / max(1, self.warmup), (self.steps - step) / decaying)

    def as_dict(self) -> dict[str, Any]:
        """Return the options for the bundle, and to check whether a checkpoint belongs to this run."""
        return asdict(self)
