import re

import numpy as np
import pytest

from research.scenes.arrangement import Arrangement
from research.scenes.phrases import read_phrases
from research.scenes.references import REFERENCES, TEMPLATES, WORDS, references
from research.scenes.sounds import (
    CHARACTERS,
)


@pytest.mark.parametrize("arrangement", list(Arrangement))
def test_references_are_distinct_of_allowed_length_and_name_every_sound_in_its_order(arrangement: Arrangement) -> None:
    rng = np.random.default_rng(0)
    in_time = arrangement in (Arrangement.SEQUENCE, Arrangement.SEQUENCE_OF_THREE)
    for _ in range(40):
        sounds = [str(name) for name in rng.choice(list(CHARACTERS), arrangement.sounds, replace=False)]
        texts = references(arrangement, sounds, rng)
        assert len(set(texts)) == REFERENCES
        for text in texts:
            assert WORDS[0] <= len(text.split()) <= WORDS[1], text
            assert text[0].isupper(), text
            assert text.endswith("."), text
            places = [_place(text, sound) for sound in sounds]
            assert all(place >= 0 for place in places), (sounds, text)
            if in_time:
                assert places == sorted(places), (sounds, text)


def test_every_arrangement_has_enough_templates_and_one_that_does_not_tell_the_order_is_not_a_sequence() -> None:
    for arrangement in Arrangement:
        templates = TEMPLATES[arrangement]
        assert len(set(templates)) >= 8
        for template in templates:
            named = re.findall(r"\{[cn](\d)\}", template)
            assert sorted(named) == [str(number) for number in range(arrangement.sounds)], template


def test_only_a_sound_that_is_quieter_is_said_to_be_in_the_background() -> None:
    for arrangement in (Arrangement.ALONE, Arrangement.TOGETHER, Arrangement.SEQUENCE, Arrangement.TOGETHER_THEN):
        for template in TEMPLATES[arrangement]:
            assert not re.search(r"background|distance|\{b", template), template
    for sound, phrases in read_phrases().items():
        said = " ".join((*phrases.clauses, *phrases.nouns, *phrases.manners))
        assert not re.search(r"background|distance|distant|far off", said), sound


def _place(text: str, sound: str) -> int:
    found = [text.lower().find(phrase) for phrase in (*read_phrases()[sound].clauses, *read_phrases()[sound].nouns)]
    return min((place for place in found if place >= 0), default=-1)
