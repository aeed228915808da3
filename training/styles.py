"""Styles of writing, applied alike to a training caption and the similar captions in its prompt.

The corpora have few styles; a domain may have any. The style changes with the prompt, so the decoder learns to take it
from the prompt: letter case, final period, opening words, brackets.
"""

import random
from collections.abc import Callable

Style = Callable[[str], str]


def _bare(caption: str) -> str:
    return caption.strip().rstrip(".")


def _lower_first(caption: str) -> str:
    return caption[:1].lower() + caption[1:] if caption[1:2].islower() or caption[1:2] == " " else caption


_STYLES: tuple[Style, ...] = (
    lambda c: _bare(c) + ".",
    lambda c: _bare(c).lower(),
    lambda c: _bare(c).upper(),
    lambda c: f"The sound of {_lower_first(_bare(c))}.",
    lambda c: f"We hear {_lower_first(_bare(c))}.",
    lambda c: f"{_bare(c)}!",
    lambda c: f"({_bare(c).lower()})",
    lambda c: f"Listen: {_lower_first(_bare(c))}.",
    lambda c: f"{_bare(c)}, as recorded in the field.",
    lambda c: f"{_bare(c).lower()}...",
    lambda c: f"Audio: {_lower_first(_bare(c))}",
    lambda c: f"One can hear {_lower_first(_bare(c))} here.",
)


def draw_style(rng: random.Random, keep: float) -> Style:
    """Return a random style, or with probability `keep` one that changes nothing."""
    if rng.random() < keep:
        return str.strip
    return rng.choice(_STYLES)
