"""The metrics against values known by hand."""

import math

import numpy as np
import pytest

from evaluation.scores import bleu, cider, corpus_bleu, distinct, rouge_l

REFERENCES = [
    ["a dog barks at night", "a dog is barking"],
    ["rain falls on a roof", "rain is falling"],
    ["bells ring in a tower"],
]


@pytest.fixture
def _metrics() -> None:
    pytest.importorskip("pycocoevalcap", reason="the extra eval is not installed")


@pytest.mark.usefixtures("_metrics")
def test_a_caption_like_its_references_scores_above_one_unlike_them() -> None:
    right = cider([texts[0] for texts in REFERENCES], REFERENCES)
    wrong = cider(["a cat meows by day", "birds sing on trees", "people talk at home"], REFERENCES)
    assert (right > wrong).all()


@pytest.mark.usefixtures("_metrics")
def test_the_only_reference_itself_gets_all_of_cider_bleu_and_rouge() -> None:
    only = [[texts[0]] for texts in REFERENCES]
    said = [texts[0] for texts in REFERENCES]
    sentences, corpus = bleu(said, only)
    assert cider(said, only) == pytest.approx(10.0)
    assert rouge_l(said, only) == pytest.approx(1.0)
    assert sentences == pytest.approx(1.0)
    assert [figure.value for figure in corpus] == pytest.approx([1.0] * 4)


@pytest.mark.usefixtures("_metrics")
def test_bleu_of_a_short_caption_is_its_precision_and_brevity() -> None:
    # "a cat barks": 2 of 3 words right, 5 words in the closest reference.
    sentences, corpus = bleu(["a cat barks"], [["a dog barks at night"]])
    assert sentences[0, 0] == pytest.approx(2 / 3 * math.exp(1 - 5 / 3))
    assert corpus[0].value == pytest.approx(sentences[0, 0])


@pytest.mark.usefixtures("_metrics")
def test_rouge_of_a_caption_with_half_the_words_in_order() -> None:
    # 2 of 4 words in order: precision, recall and their weighted mean are one half.
    assert rouge_l(["a dog sleeps now"], [["a dog barks loudly"]]) == pytest.approx([0.5])


@pytest.mark.usefixtures("_metrics")
def test_the_resampled_bleu_is_that_of_the_package_on_the_clips_drawn() -> None:
    said = ["a dog barks at noon", "rain on a roof falls", "bells"]
    # By hand, "a dog barks at noon": 4, 3, 2, 1 of 5, 4, 3, 2 n-grams; 5 words, as many as the closest reference.
    first = [4, 3, 2, 1, 5, 4, 3, 2, 5, 5]
    assert corpus_bleu(np.array(first, dtype=float)) == pytest.approx(bleu(said[:1], REFERENCES[:1])[0][0])
    twice = bleu([said[0], said[0]], [REFERENCES[0], REFERENCES[0]])[1]
    assert corpus_bleu(2.0 * np.array(first)) == pytest.approx([figure.value for figure in twice])


@pytest.mark.usefixtures("_metrics")
def test_the_interval_of_bleu_holds_its_value() -> None:
    said = ["a dog barks at noon", "rain falls on a roof", "bells"] * 8
    _, corpus = bleu(said, REFERENCES * 8)
    assert all(figure.low < figure.value < figure.high for figure in corpus)


def test_distinct_counts_ngrams_of_all_captions_together() -> None:
    said = ["a dog barks", "a dog sleeps"]
    assert distinct(said, 1).value == pytest.approx(4 / 6)
    assert distinct(said, 2).value == pytest.approx(3 / 4)


def test_distinct_of_captions_without_ngrams_is_nothing() -> None:
    assert distinct(["dog", ""], 2).value == 0.0


def test_the_interval_of_distinct_holds_its_value() -> None:
    rng = np.random.default_rng(3)
    said = [" ".join(f"w{word}" for word in rng.zipf(1.5, size=8) % 500) for _ in range(60)]
    figure = distinct(said, 1)
    assert 0.0 < figure.low < figure.value < figure.high < 1.0
    assert figure.high - figure.low < 0.3
