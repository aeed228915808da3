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


def near(
    *captions: str, scores: tuple[float, ...] | None = None, vectors: tuple[tuple[float, float], ...] = ()
) -> list[Near]:
    of = scores or (0.5,) * len(captions)
    at = vectors or ((0.0, 0.0),) * len(captions)
    return [
        Near(caption, score, np.array(vector, np.float32))
        for caption, score, vector in zip(captions, of, at, strict=True)
    ]


WORDS_ALONE = Reranker(meaning=0.0)


def chosen(reranker: Reranker, found: list[Near], *texts: str, means: tuple[float, ...] = ()) -> str:
    vectors = np.array([[one, 0.0] for one in means or (0.0,) * len(texts)], np.float32)
    return reranker.choose([found], [Generated(texts[0], 3, texts[1:])], vectors)[0].text


def test_what_most_neighbours_say_wins() -> None:
    found = near("rain falls on a roof", "heavy rain on a roof", "a dog barks")
    assert chosen(WORDS_ALONE, found, "a dog howls", "rain patters on a roof") == "rain patters on a roof"


def test_near_neighbours_weigh_more_than_far_ones() -> None:
    found = near("a dog barks", "rain on a roof", "rain falls", scores=(0.8, 0.5, 0.5))
    assert chosen(WORDS_ALONE, found, "rain falls down", "a dog growls") == "a dog growls"


def test_only_the_nearest_vote() -> None:
    found = near("a dog barks", "rain on a roof", "rain on a tent")
    one = Reranker(neighbours=1, meaning=0.0)
    assert chosen(one, found, "rain on a car", "a dog") == "a dog"
    assert chosen(WORDS_ALONE, found, "rain on a car", "a dog") == "rain on a car"


def test_a_sentence_of_the_domain_wins_over_its_own_beginning() -> None:
    found = near("rain patters on the roof of a tent", "an owl calls in a wood", "a brook runs over stones")
    whole = "rain patters on the roof of a tent"
    assert chosen(WORDS_ALONE, found, "rain patters on the roof of", whole) == whole


def test_the_meaning_of_the_neighbours_decides_between_captions_that_agree_alike() -> None:
    found = near("a dog barks at a cat", vectors=((0.6, 0.8),))
    assert chosen(Reranker(), found, "a dog", "a cat", means=(0.2, 0.6)) == "a cat"
    assert chosen(Reranker(), found, "a dog", "a cat", means=(0.6, 0.2)) == "a dog"


def test_case_and_punctuation_do_not_count() -> None:
    found = near("RAIN, falling on!", "Rain; falling off?")
    assert chosen(WORDS_ALONE, found, "a train", "rain falling") == "rain falling"


@pytest.mark.parametrize("texts", [("", "a"), ("...", "雨が降る")])
def test_captions_without_words_in_common_fall_back_on_the_meaning(texts: tuple[str, str]) -> None:
    assert chosen(Reranker(), near("rain falls", vectors=((1.0, 0.0),)), *texts, means=(0.1, 0.2)) == texts[1]


def test_without_neighbours_the_likeliest_caption_stays() -> None:
    assert chosen(Reranker(), [], "a dog", "a cat", means=(0.1, 0.2)) == "a dog"


def test_what_has_no_alternative_stays_and_takes_no_vector() -> None:
    written = [Generated("alone", 1), Generated("rain", 2, ("a dog",))]
    assert candidates(written) == ["rain", "a dog"]
    vectors = np.array([[0.1, 0.0], [0.9, 0.0]], np.float32)
    answers = Reranker().choose([near("x"), near("y", vectors=((1.0, 0.0),))], written, vectors)
    assert [one.text for one in answers] == ["alone", "a dog"]
    assert answers[1].tokens == 2
