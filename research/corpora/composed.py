"""Composes captions from everyday sound events, listed in ``events.csv``, and from the classes of YAMNet.

The permissive caption files are telegraphic (MECAT) or notes by sound collectors (WavText5K). People who caption
recordings write sentences; composed captions teach the decoder to do so, without anybody's text.
"""

import csv
import random
from pathlib import Path

from research.alignment.sentences import read_classes

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


# {c} stands for a clause ("a dog barks"), {p} for a participle ("a dog barking"); capitals begin a sentence.
_JOINED = (
    "{C0} while {c1}",
    "{C0} and {c1}",
    "{C0} as {c1}",
    "{C0}, followed by {p1}",
    "{C0}, then {c1}",
    "{C0} and then {c1}",
    "{C0} before {c1}",
    "{C0} with {p1} in the background",
    "{P0} with {p1} in the background",
    "{P0} and {p1}",
    "{P0} as {c1}",
    "{P0} followed by {p1}",
    "{P0}, then {p1}",
    "{C0} {place}",
    "{C0} {manner}",
    "{P0} {place}",
    "{P0} {manner} while {c1}",
    "{C0} while {c1} and {c2}",
    "{C0}, then {c1} while {c2}",
    "{P0}, {p1} and {p2}",
    "{C0} as {c1}, followed by {p2}",
    "{P0}, then {p1}, then {p2}",
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


def class_captions(count: int, seed: int) -> list[str]:
    """Return the sentences of every class, and at most `count` captions that join the phrases of up to three."""
    rng = random.Random(seed)  # noqa: S311
    classes = read_classes()
    captions = dict.fromkeys(sentence for one in classes for sentence in one.sentences)
    for _ in range(count):
        values = {"place": rng.choice(_PLACES), "manner": rng.choice(_MANNERS)}
        for place, one in enumerate(rng.sample(classes, 3)):
            for name, phrase in zip("cp", one.phrases, strict=True):
                values |= {f"{name}{place}": phrase, f"{name.upper()}{place}": phrase[0].upper() + phrase[1:]}
        captions[rng.choice(_JOINED).format(**values)] = None
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
