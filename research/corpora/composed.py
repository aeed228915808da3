"""Composes captions from everyday sound events, listed in ``events.csv``.

The permissive caption files are telegraphic (MECAT) or notes by sound collectors (WavText5K). People who caption
recordings write sentences; composed captions teach the decoder to do so, without anybody's text.
"""

import csv
import random
from pathlib import Path

_PLACES = (
    "in the distance",
    "nearby",
    "in the background",
    "outdoors",
    "in a large room",
    "in a small room",
    "close by",
    "on a street",
    "in a park",
    "far away",
    "in an echoing hall",
    "at night",
    "in a forest",
    "in a kitchen",
)
_MANNERS = (
    "repeatedly",
    "loudly",
    "softly",
    "again and again",
    "for a while",
    "several times",
    "continuously",
)


def composed_captions(count: int, seed: int) -> list[str]:
    """Return at most `count` distinct captions of one or two sound events; the same seed gives the same list."""
    rng = random.Random(seed)  # noqa: S311 - reproducible training data, not a secret
    with Path(__file__).with_name("events.csv").open(encoding="utf-8", newline="") as table:
        events = list(csv.reader(table))[1:]
    captions: dict[str, None] = {}
    for _ in range(4 * count):
        if len(captions) == count:
            break
        captions[_compose(rng, events)] = None
    return list(captions)


def _compose(rng: random.Random, events: list[list[str]]) -> str:
    (subject, does, doing), (subject2, does2, doing2) = rng.sample(events, 2)
    place, manner = rng.choice(_PLACES), rng.choice(_MANNERS)
    lower, lower2 = _lower(subject), _lower(subject2)
    return rng.choice(
        (
            f"{subject} {does} {place}.",
            f"{subject} {does} {manner}.",
            f"{subject} {does} {manner} {place}.",
            f"{subject} {doing} {place}.",
            f"{subject} {does} while {lower2} {does2} {place}.",
            f"{subject} {does} as {lower2} {does2}.",
            f"{subject} {does} and then {lower2} {does2}.",
            f"{subject} {does}, followed by {lower2} {doing2}.",
            f"{subject} {doing} with {lower2} {doing2} {place}.",
            f"There is {lower} {doing} {place}." if subject.startswith(("A ", "An ")) else f"{subject} {does}.",
            f"{subject} {does} and {lower2} {does2} at the same time.",
        )
    )


def _lower(subject: str) -> str:
    return subject[0].lower() + subject[1:]
