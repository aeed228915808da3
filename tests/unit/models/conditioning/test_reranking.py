"""Which of several captions is the answer."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.conditioning.reranking import Reranker, candidates
from models.decoder import Generated
from models.vectors import FloatArray


@dataclass(frozen=True)
class Near:
    caption: str
    score: float
    vector: FloatArray


def near(*captions: str, scores: tuple[float, ...] | None = None) -> list[Near]:
    of = scores or (0.5,) * len(captions)
    return [Near(caption, score, np.zeros(2, np.float32)) for caption, score in zip(captions, of, strict=True)]


QUERY = np.array([[1.0, 0.0]], np.float32)
DEAF = Reranker(similarity=0.0)


def chosen(reranker: Reranker, found: list[Near], *texts: str, heard: tuple[float, ...] = ()) -> str:
    vectors = np.array([[one, 0.0] for one in heard or (0.0,) * len(texts)], np.float32)
    return reranker.choose(QUERY, [found], [Generated(texts[0], 3, texts[1:])], vectors)[0].text


def test_what_most_neighbours_say_wins() -> None:
    found = near("rain falls on a roof", "heavy rain on a roof", "a dog barks")
    assert chosen(DEAF, found, "a dog howls", "rain patters on a roof") == "rain patters on a roof"


def test_near_neighbours_weigh_more_than_far_ones() -> None:
    found = near("a dog barks", "rain on a roof", "rain falls", scores=(0.8, 0.5, 0.5))
    assert chosen(DEAF, found, "rain falls down", "a dog growls") == "a dog growls"


def test_only_the_nearest_vote() -> None:
    found = near("a dog barks", "rain on a roof", "rain on a tent")
    one = Reranker(neighbours=1, similarity=0.0)
    assert chosen(one, found, "rain on a car", "a dog") == "a dog"
    assert chosen(DEAF, found, "rain on a car", "a dog") == "rain on a car"


def test_a_copy_does_not_have_the_vote_of_its_original() -> None:
    found = near("a very rare sentence", "rain falls hard", "rain falls now")
    assert chosen(DEAF, found, "a very rare sentence", "rain falls") == "rain falls"


def test_the_sound_decides_between_captions_that_agree_alike() -> None:
    found = near("a dog barks at a cat")
    assert chosen(Reranker(), found, "a dog", "a cat", heard=(0.2, 0.6)) == "a cat"
    assert chosen(Reranker(), found, "a dog", "a cat", heard=(0.6, 0.2)) == "a dog"


def test_case_and_punctuation_do_not_count() -> None:
    found = near("RAIN, falling!", "Rain; falling?")
    assert chosen(DEAF, found, "a train", "rain falling") == "rain falling"


@pytest.mark.parametrize("texts", [("", "a"), ("...", "雨が降る")])
def test_captions_without_words_in_common_fall_back_on_the_sound(texts: tuple[str, str]) -> None:
    assert chosen(Reranker(), near("rain falls"), *texts, heard=(0.1, 0.2)) == texts[1]
    assert chosen(Reranker(), [], *texts, heard=(0.2, 0.1)) == texts[0]


def test_what_has_no_alternative_stays_and_takes_no_vector() -> None:
    written = [Generated("alone", 1), Generated("rain", 2, ("a dog",))]
    assert candidates(written) == ["rain", "a dog"]
    vectors = np.array([[0.1, 0.0], [0.9, 0.0]], np.float32)
    answers = Reranker().choose(np.repeat(QUERY, 2, axis=0), [near("x"), near("y")], written, vectors)
    assert [one.text for one in answers] == ["alone", "a dog"]
    assert answers[1].tokens == 2
