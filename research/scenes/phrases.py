"""Reads the words for each sound from ``phrases.json``: clauses with a subject and a verb, and singular nouns.

They are written for the scenes alone. No phrase states a number of times, or a place that the sound does not reveal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Phrases:
    """The words for one sound class.

    Attributes:
        clauses: can stand as a sentence: "a dog barks".
        nouns: can be the subject of "is heard": "the barking of a dog".
        manners: may follow a clause when nothing else is heard.
        keywords: every clause and noun has one of them, so that a reader knows the sound is named.
        behind: where a quiet sound of this class is heard.
    """

    clauses: tuple[str, ...]
    nouns: tuple[str, ...]
    manners: tuple[str, ...]
    keywords: tuple[str, ...]
    behind: str


@cache
def read_phrases() -> Mapping[str, Phrases]:
    """Return the phrases by sound class, a key of `research.scenes.sounds.CHARACTERS`."""
    table = json.loads(Path(__file__).with_name("phrases.json").read_text(encoding="utf-8"))
    return {
        sound: Phrases(
            tuple(row["clauses"]), tuple(row["nouns"]), tuple(row["manners"]), tuple(row["keywords"]), row["behind"]
        )
        for sound, row in table.items()
    }
