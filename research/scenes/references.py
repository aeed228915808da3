"""Writes the references of a scene: five sentences that say what is heard and in which order."""

from collections.abc import Mapping, Sequence

import numpy as np

from research.scenes.arrangement import Arrangement
from research.scenes.phrases import read_phrases

REFERENCES = 5
"""Number of references of a scene."""

WORDS = (6, 16)
"""Fewest and most words in a reference."""

_ATTEMPTS = 200

# {c0} is a clause of the first sound, {n0} a noun, {m0} a manner; {b1} says where the second sound is heard behind it.
TEMPLATES: Mapping[Arrangement, tuple[str, ...]] = {
    Arrangement.ALONE: (
        "{c0} {m0}.",
        "{c0} close to the microphone.",
        "{c0} for several seconds.",
        "{c0} all through the recording.",
        "{c0}, with hardly any other noise around.",
        "close by, {c0} {m0}.",
        "{n0} can be heard and little else.",
        "{n0} is heard up close.",
        "{n0} is all that can be made out.",
        "{n0} is clearly audible all along.",
    ),
    Arrangement.TOGETHER: (
        "{n0} and {n1} are heard together.",
        "while {c0}, {c1}.",
        "{n0} mixes with {n1}.",
        "{c0}, and meanwhile {c1}.",
        "{n0} overlaps with {n1} throughout.",
        "both {n0} and {n1} can be heard.",
        "{c0}, accompanied by {n1}.",
        "{n0} competes with {n1}.",
        "{c0} and {c1}, both equally loud.",
        "{c0} while {c1}.",
        "there is {n0} along with {n1}.",
    ),
    Arrangement.BACKGROUND: (
        "{c1} {b1}, and closer by {c0}.",
        "{c0} with {n1} {b1}.",
        "behind {n0}, the fainter sound is {n1}.",
        "{c0} in the foreground, and {c1} {b1}.",
        "{n0} stands out over {n1}.",
        "while {c1} {b1}, {c0}.",
        "{c0}, and {n1} is faintly audible {b1}.",
        "{n1} stays in the background as {c0}.",
        "{n0} is louder than {n1} {b1}.",
        "{c0}; quieter than that, {c1}.",
    ),
    Arrangement.SEQUENCE: (
        "first {c0}, then {c1}.",
        "after {n0}, {c1}.",
        "{n0} gives way to {n1}.",
        "{c0} before {n1} is heard.",
        "{n0} is followed by {n1}.",
        "{c0}, after which {c1}.",
        "{n0} ends and {n1} starts up.",
        "{c0} at the start, and later {c1}.",
        "{c0}, then comes {n1}.",
        "{n0} stops, and {n1} begins.",
        "at first there is {n0}, and afterwards {c1}.",
    ),
    Arrangement.SEQUENCE_OF_THREE: (
        "{c0}, then {c1}, and finally {c2}.",
        "first {c0}, next {c1}, then {c2}.",
        "{n0}, {n1} and {n2} are heard one after another.",
        "{n0} is followed by {n1} and, at the end, {n2}.",
        "after {n0}, {c1}, and later {c2}.",
        "{c0}, after which {c1}, and {n2} comes last.",
        "{n0} gives way to {n1}, and then {c2}.",
        "{n0} comes first, then {n1}, then {n2}.",
        "{c0}, followed by {n1}, and in the end {c2}.",
        "{c0}, {c1} and lastly {c2}.",
    ),
    Arrangement.SEQUENCE_OVER: (
        "over {n2}, {c0} and then {c1}.",
        "while {c2}, {c0}, then {c1}.",
        "{c0}, followed by {n1}, with {n2} in the background.",
        "{c0} and later {c1}, and all the while {c2}.",
        "{n0} and then {n1} can be heard above {n2}.",
        "{c2} throughout as first {c0} and then {c1}.",
        "with {n2} in the background, {c0} and afterwards {c1}.",
        "{n2} continues behind {n0} and then {n1}.",
        "{n0}, then {n1}, both heard over {n2}.",
    ),
    Arrangement.TOGETHER_THEN: (
        "{c0} while {c1}, and then {c2}.",
        "{n0} and {n1} give way to {n2}.",
        "first {c0} along with {n1}, then {c2}.",
        "after {n0} mixed with {n1}, {c2}.",
        "{c0} together with {n1} until {n2} takes over.",
        "{c0}, meanwhile {c1}, and {n2} comes afterwards.",
        "{n0} blends with {n1} before {n2} is heard.",
        "{n0} is heard with {n1}, followed by {n2}.",
        "as {c0}, {c1}, and at the end {c2}.",
    ),
}
"""The sentences for each arrangement. A sound that is named later in a sequence is heard later."""


def references(arrangement: Arrangement, sounds: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Return `REFERENCES` sentences for the sounds in the order of the arrangement, each from another template.

    A phrase is used twice only where no other fits.

    Raises:
        RuntimeError: the templates and phrases give too few sentences of `WORDS` words.
    """
    texts: list[str] = []
    used: set[str] = set()
    for index in rng.permutation(len(TEMPLATES[arrangement])):
        found = _reference(TEMPLATES[arrangement][index], sounds, used, rng)
        if found is None:
            continue
        texts.append(found[0])
        used |= found[1]
        if len(texts) == REFERENCES:
            return tuple(texts)
    raise RuntimeError(f"only {len(texts)} references can be written for {arrangement.written(sounds)}")


def _reference(
    template: str, sounds: Sequence[str], used: set[str], rng: np.random.Generator
) -> tuple[str, set[str]] | None:
    """Return a sentence of allowed length and its phrases, unused ones if possible; None if no length fits."""
    best: tuple[str, set[str]] | None = None
    fewest = 0
    for _ in range(_ATTEMPTS):
        words = {}
        for position, sound in enumerate(sounds):
            phrases = read_phrases()[sound]
            words[f"c{position}"] = _one(phrases.clauses, rng)
            words[f"n{position}"] = _one(phrases.nouns, rng)
            words[f"m{position}"] = _one(phrases.manners, rng)
        behind = {f"b{position}": read_phrases()[sound].behind for position, sound in enumerate(sounds)}
        text = template.format_map(words | behind)
        if not WORDS[0] <= len(text.split()) <= WORDS[1]:
            continue
        taken = {phrase for key, phrase in words.items() if f"{{{key}}}" in template}
        again = len(taken & used)
        if best is None or again < fewest:
            best, fewest = (text[0].upper() + text[1:], taken), again
        if again == 0:
            break
    return best


def _one(phrases: Sequence[str], rng: np.random.Generator) -> str:
    return phrases[int(rng.integers(len(phrases)))]
