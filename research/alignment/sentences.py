"""The sentences written for what is heard: for labels of clips, UCS categories and classes of YAMNet.

They are in ``labels.json``, ``categories.json`` and ``classes.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Label:
    """The captions for a label, and the kind of sound it belongs to.

    Attributes:
        group: joins labels of one kind of sound, so that folds never split a kind.
        captions: say what the label sounds like.
    """

    group: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class SoundClass:
    """A class of YAMNet in our words.

    Attributes:
        name: of AudioSet.
        sentences: captions of that sound alone.
        phrases: a clause and a participle, to be joined with those of other classes.
    """

    name: str
    sentences: tuple[str, ...]
    phrases: tuple[str, str]


def read_labels() -> dict[str, Label]:
    """Return the labels by name."""
    table = json.loads(_table("labels.json"))
    return {name: Label(entry["group"], tuple(entry["captions"])) for name, entry in table.items()}


def read_categories() -> dict[str, tuple[str, ...]]:
    """Return by UCS category the sentences that say what it sounds like."""
    return {name: tuple(sentences) for name, sentences in json.loads(_table("categories.json")).items()}


def read_classes() -> list[SoundClass]:
    """Return the classes of YAMNet in its order."""
    table = json.loads(_table("classes.json"))
    return [SoundClass(one["name"], tuple(one["sentences"]), tuple(one["phrases"])) for one in table]


def _table(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
