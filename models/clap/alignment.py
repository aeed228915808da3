"""The head that brings what the audio tower hears into the space of the text tower.

    prior    = normalise(posteriors @ categories)           what the classifier heads say, in words
    residual = sum_i k(x, landmark_i) coefficient_i         what the training clips like this one add
    vector   = normalise(prior_weight prior + residual)

with k(x, z) = exp((cos(x, z) - 1) / bandwidth^2). Far from all training clips the kernel vanishes and the prior
alone speaks: kinds of sound that were never trained on are heard no worse for the training.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.clap.aisfx import CATEGORY_HEADS, FEATURES, HIDDEN, AisfxTower, WrongWeights

TEXT_DIM = 384
INPUTS = FEATURES + HIDDEN
_NEVER = -30.0
# The heads are too sure of themselves on recordings unlike those of a sound library: their logits are halved.
_SOFTENING = 2.0

# The Universal Category System, version 8.2, in its order.
CATEGORIES: tuple[str, ...] = (
    *(
        "AIR",
        "AIRCRAFT",
        "ALARMS",
        "AMBIENCE",
        "ANIMALS",
        "ARCHIVED",
        "BEEPS",
        "BELLS",
        "BIRDS",
        "BOATS",
        "BULLETS",
    ),
    *(
        "CARTOON",
        "CERAMICS",
        "CHAINS",
        "CHEMICALS",
        "CLOCKS",
        "CLOTH",
        "COMMUNICATIONS",
        "COMPUTERS",
        "CREATURES",
    ),
    *("CROWDS", "DESIGNED", "DESTRUCTION", "DIRT & SAND", "DOORS", "DRAWERS", "ELECTRICITY", "EQUIPMENT"),
    *("EXPLOSIONS", "FARTS", "FIGHT", "FIRE", "FIREWORKS", "FOLEY", "FOOD & DRINK", "FOOTSTEPS", "GAMES"),
    *("GEOTHERMAL", "GLASS", "GORE", "GUNS", "HORNS", "HUMAN", "ICE", "LASERS", "LEATHER", "LIQUID & MUD"),
    *(
        "MACHINES",
        "MAGIC",
        "MECHANICAL",
        "METAL",
        "MOTORS",
        "MOVEMENT",
        "MUSICAL",
        "NATURAL DISASTER",
        "OBJECTS",
    ),
    *("PAPER", "PLASTIC", "RAIN", "ROBOTS", "ROCKS", "ROPE", "RUBBER", "SCIFI", "SNOW", "SPORTS", "SWOOSHES"),
    *("TOOLS", "TOYS", "TRAINS", "USER INTERFACE", "VEGETATION", "VEHICLES", "VOICES", "WATER", "WEAPONS"),
    *("WEATHER", "WHISTLES", "WIND", "WINDOWS", "WINGS", "WOOD"),
)
# The checkpoint names no classes. Each head lists the categories in order but lacks some; which ones was found by
# aligning the heads with one another on the correlation of their posteriors over many clips (docs/alignment.md).
MISSING = {
    "prosfx": ("ARCHIVED", "CERAMICS", "ICE", "WINDOWS"),
    "soundlyTrain": ("ARCHIVED", "FOOD & DRINK", "GEOTHERMAL"),
    "ucsMixed": (
        *("ARCHIVED", "CHEMICALS", "DESTRUCTION", "DIRT & SAND", "FOOD & DRINK", "MACHINES", "MAGIC"),
        *("NATURAL DISASTER", "ROCKS", "ROPE", "RUBBER", "SNOW", "WINDOWS"),
    ),
}


def category_columns(head: str) -> list[int]:
    """For each class of a head the index of its category. Raises ValueError where the counts do not meet."""
    columns = [index for index, name in enumerate(CATEGORIES) if name not in MISSING[head]]
    if len(columns) != CATEGORY_HEADS[head]:
        raise ValueError(f"head {head} has {CATEGORY_HEADS[head]} classes, the table names {len(columns)}")
    return columns


def category_posteriors(by_head: dict[str, Tensor]) -> Tensor:
    """Log-posteriors of each head [blocks, classes] -> posteriors of their softened geometric mean [blocks, ..].

    A category is averaged over the heads that know it, then all are softened and renormalised.
    """
    first = next(iter(by_head.values()))
    total = first.new_zeros(first.shape[0], len(CATEGORIES))
    count = first.new_zeros(len(CATEGORIES))
    for head in MISSING:
        columns = category_columns(head)
        total[:, columns] += by_head[head]
        count[columns] += 1
    mean = (total / count.clamp(min=1) / _SOFTENING).masked_fill(count == 0, _NEVER)
    return torch.softmax(mean, dim=-1)


def summarise(tower: AisfxTower, features: Tensor) -> tuple[Tensor, Tensor]:
    """One window: features [blocks, FEATURES] -> posteriors [categories] and inputs [INPUTS], means over its blocks."""
    hidden, by_head = tower.classify(features)
    inputs = torch.cat([features, hidden], dim=-1).mean(dim=0)
    return category_posteriors(by_head).mean(dim=0), inputs


class AlignmentHead(nn.Module):
    """Posteriors and inputs of windows -> unit vectors in the centred text space."""

    text_mean: Tensor
    categories: Tensor
    input_mean: Tensor
    input_scale: Tensor
    landmarks: Tensor
    coefficients: Tensor
    bandwidth: Tensor
    prior_weight: Tensor

    def __init__(self, landmarks: int) -> None:
        super().__init__()
        self.register_buffer("text_mean", torch.zeros(TEXT_DIM))
        self.register_buffer("categories", torch.zeros(len(CATEGORIES), TEXT_DIM))
        self.register_buffer("input_mean", torch.zeros(INPUTS))
        self.register_buffer("input_scale", torch.ones(INPUTS))
        self.register_buffer("landmarks", torch.zeros(landmarks, INPUTS))
        self.register_buffer("coefficients", torch.zeros(landmarks, TEXT_DIM))
        self.register_buffer("bandwidth", torch.ones(()))
        self.register_buffer("prior_weight", torch.ones(()))

    def prior(self, posteriors: Tensor) -> Tensor:
        """Posteriors [n, categories] -> unit vectors [n, TEXT_DIM]: sentences of the categories, weighted."""
        return functional.normalize(posteriors @ self.categories, dim=-1)

    def directions(self, inputs: Tensor) -> Tensor:
        """Inputs [n, INPUTS] -> unit vectors the kernel compares [n, INPUTS]; both kinds of input weigh alike."""
        scaled = (inputs - self.input_mean) / self.input_scale
        parts = scaled[..., :FEATURES], scaled[..., FEATURES:]
        return functional.normalize(torch.cat([part / part.shape[-1] ** 0.5 for part in parts], dim=-1), dim=-1)

    def kernel(self, directions: Tensor, landmarks: Tensor) -> Tensor:
        """Unit vectors [n, INPUTS] and [m, INPUTS] -> similarities [n, m] in 0 to 1."""
        return torch.exp((directions @ landmarks.T - 1.0) / self.bandwidth.square())

    def forward(self, posteriors: Tensor, inputs: Tensor) -> Tensor:
        """Posteriors [n, categories], inputs [n, INPUTS] -> unit vectors [n, TEXT_DIM]."""
        residual = self.kernel(self.directions(inputs), self.landmarks) @ self.coefficients
        return functional.normalize(self.prior_weight * self.prior(posteriors) + residual, dim=-1)

    def centre_text(self, vectors: Tensor) -> Tensor:
        """Vectors of the text tower [n, TEXT_DIM] -> centred unit vectors [n, TEXT_DIM]."""
        return functional.normalize(vectors - self.text_mean, dim=-1)

    def fingerprint(self) -> str:
        """``embedded-`` and 8 hex digits of the SHA-256 over all weights in the order of their names."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return f"embedded-{digest.hexdigest()[:8]}"

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> "AlignmentHead":
        """Load strictly. Raises `WrongWeights` if the file is unreadable or holds other tensors than these."""
        try:
            state = {name: value.float() for name, value in load_file(path).items()}
            head = cls(landmarks=state["landmarks"].shape[0])
            head.load_state_dict(state, strict=True)
        except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
            raise WrongWeights(f"{path} does not hold an alignment head: {error}") from error
        return head.to(device).eval().requires_grad_(requires_grad=False)
