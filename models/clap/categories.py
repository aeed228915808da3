"""Merges the classifier heads of aisfx into posteriors over the categories of the Universal Category System."""

import torch
from torch import Tensor

from models.clap.aisfx import CATEGORY_HEADS

_NEVER = -30.0
# The heads are overconfident on recordings that differ from those of a sound library, so their logits are halved.
_SOFTENING = 2.0

# The Universal Category System, version 8.2, in its order.
CATEGORIES: tuple[str, ...] = (
    "AIR", "AIRCRAFT", "ALARMS", "AMBIENCE", "ANIMALS", "ARCHIVED", "BEEPS", "BELLS", "BIRDS", "BOATS", "BULLETS",
    "CARTOON", "CERAMICS", "CHAINS", "CHEMICALS", "CLOCKS", "CLOTH", "COMMUNICATIONS", "COMPUTERS", "CREATURES",
    "CROWDS", "DESIGNED", "DESTRUCTION", "DIRT & SAND", "DOORS", "DRAWERS", "ELECTRICITY", "EQUIPMENT", "EXPLOSIONS",
    "FARTS", "FIGHT", "FIRE", "FIREWORKS", "FOLEY", "FOOD & DRINK", "FOOTSTEPS", "GAMES", "GEOTHERMAL", "GLASS",
    "GORE", "GUNS", "HORNS", "HUMAN", "ICE", "LASERS", "LEATHER", "LIQUID & MUD", "MACHINES", "MAGIC", "MECHANICAL",
    "METAL", "MOTORS", "MOVEMENT", "MUSICAL", "NATURAL DISASTER", "OBJECTS", "PAPER", "PLASTIC", "RAIN", "ROBOTS",
    "ROCKS", "ROPE", "RUBBER", "SCIFI", "SNOW", "SPORTS", "SWOOSHES", "TOOLS", "TOYS", "TRAINS", "USER INTERFACE",
    "VEGETATION", "VEHICLES", "VOICES", "WATER", "WEAPONS", "WEATHER", "WHISTLES", "WIND", "WINDOWS", "WINGS", "WOOD",
)  # fmt: skip
# The checkpoint names no classes. Each head lists the categories in order but lacks some. To find out which, the heads
# were aligned with one another on the correlation of their posteriors over many clips (docs/alignment.md).
MISSING = {
    "prosfx": ("ARCHIVED", "CERAMICS", "ICE", "WINDOWS"),
    "soundlyTrain": ("ARCHIVED", "FOOD & DRINK", "GEOTHERMAL"),
    "ucsMixed": (
        *("ARCHIVED", "CHEMICALS", "DESTRUCTION", "DIRT & SAND", "FOOD & DRINK", "MACHINES", "MAGIC"),
        *("NATURAL DISASTER", "ROCKS", "ROPE", "RUBBER", "SNOW", "WINDOWS"),
    ),
}


def category_columns(head: str) -> list[int]:
    """Return the index of the category of each class of a head. Raises ValueError if the counts differ."""
    columns = [index for index, name in enumerate(CATEGORIES) if name not in MISSING[head]]
    if len(columns) != CATEGORY_HEADS[head]:
        raise ValueError(f"head {head} has {CATEGORY_HEADS[head]} classes, the table names {len(columns)}")
    return columns


def category_posteriors(by_head: dict[str, Tensor]) -> Tensor:
    """Merge log-posteriors of each head [blocks, classes] into posteriors [blocks, CATEGORIES].

    Each category is averaged over the heads that know it (a geometric mean); then all are softened and renormalised.
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
