"""The sounds that a CLAP is sure of, in the order of time, as a prompt names them."""

from collections.abc import Sequence

import numpy as np

from models.prompt import SoundGroups
from models.vectors import FloatArray

# Scores are probabilities of a classifier. A kind is sure from 0.3, and lasts as long as half of that.
_SURE, _LASTING = 0.3, 0.15
_MOST = 4
# AudioSet has this kind, but it is not a sound.
_NOTHING = "silence"


def sure_sounds(scores: FloatArray, names: Sequence[str]) -> SoundGroups:
    """Return the names of at most four kinds of sound. Those that overlap in time form a group, the surest first.

    Args:
        scores: of each kind in each frame of a recording or stretch, in the order of time [frames, names], 0 to 1.
        names: of the kinds; a name may occur twice. Without names nothing is sure.
    """
    largest = scores.max(axis=0) if len(names) else np.zeros(0)
    kinds: dict[str, int] = {}
    for kind in np.argsort(-largest, kind="stable"):
        if largest[kind] < _SURE or len(kinds) == _MOST:
            break
        if names[kind] != _NOTHING:
            kinds.setdefault(names[kind], int(kind))
    lasting = {name: np.flatnonzero(scores[:, kind] >= _LASTING) for name, kind in kinds.items()}
    groups: list[list[str]] = []
    end = -1
    for name in sorted(lasting, key=lambda one: int(lasting[one][0])):
        rows = lasting[name]
        if not groups or rows[0] > end:
            groups.append([])
        groups[-1].append(name)
        end = max(end, int(rows[-1]))
    return tuple(tuple(sorted(group, key=lambda one: -largest[kinds[one]])) for group in groups)
