"""Measures of the captions of a system, with and without Java."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation import scores
from evaluation.java import JavaFailed
from evaluation.metrics import Measures, References, Said, compare, measure
from tests.fakes import FakeClap

pytest.importorskip("pycocoevalcap", reason="the extra eval is not installed")


REFERENCES = [["A dog barks at night."], ["Rain falls on a roof."], ["Bells ring in a tower."]]


RIGHT = [Said(texts[0], ()) for texts in REFERENCES]


WRONG = [Said(texts[0], ()) for texts in (REFERENCES[1], REFERENCES[2], REFERENCES[0])]


def measured(said: Sequence[Said], heard: NDArray[np.float32] | None = None) -> Measures:
    return measure(said, REFERENCES, heard, FakeClap().embed_text, java=False)


def test_a_caption_equal_to_its_reference_has_every_point() -> None:
    heard = FakeClap().embed_text([texts[0] for texts in REFERENCES])
    overall = measured(RIGHT, heard).overall
    assert overall["cider"].value == pytest.approx(10.0)
    for name in ("bleu1", "bleu4", "rouge_l", "sentence_similarity", "clap_score"):
        assert overall[name].value == pytest.approx(1.0, abs=1e-5)


def test_captions_of_other_clips_score_less_by_every_measure_of_content() -> None:
    heard = FakeClap().embed_text([texts[0] for texts in REFERENCES])
    right, wrong = measured(RIGHT, heard), measured(WRONG, heard)
    for name in ("cider", "bleu1", "rouge_l", "sentence_similarity", "clap_score"):
        assert compare(right, wrong, name).low > 0


def test_case_and_closing_periods_do_not_count() -> None:
    shouted = [Said(one.caption.upper().rstrip(".") + " !", ()) for one in RIGHT]
    assert measured(shouted).overall["cider"].value == pytest.approx(10.0)


def test_sentence_similarity_is_the_mean_over_references_of_unlike_number() -> None:
    references = [["dog", "cat", "cow"], ["rain"]]
    vectors = {"dog": [1.0, 0.0], "cat": [0.0, 1.0], "cow": [0.6, 0.8], "rain": [0.0, 1.0]}

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([vectors[text] for text in texts], dtype=np.float32)

    result = measure([Said("dog", ()), Said("cow", ())], references, None, embed, java=False)
    assert result.per_clip["sentence_similarity"] == pytest.approx([1.6 / 3, 0.8])


def test_without_audio_vectors_there_is_no_clap_score() -> None:
    assert "clap_score" not in measured(RIGHT).overall


@pytest.mark.parametrize(
    ("caption", "verbatim"),
    [("a DOG  barks", 1.0), ("A dog barks.", 1.0), ("A dog barks twice.", 0.0), ("A dog", 0.0), ("", 0.0)],
)
def test_verbatim_is_a_retrieved_caption_but_for_case_spaces_and_closing_punctuation(
    caption: str, verbatim: float
) -> None:
    said = [Said(caption, ("Rain.", "A dog barks")), *RIGHT[1:]]
    assert measured(said).per_clip["verbatim"].tolist() == [verbatim, 0.0, 0.0]


def test_an_empty_caption_scores_nothing_and_harms_no_other() -> None:
    result = measured([Said("", ()), *RIGHT[1:]])
    assert result.per_clip["words"].tolist() == [0.0, 5.0, 5.0]
    assert result.per_clip["cider"] == pytest.approx([0.0, 10.0, 10.0])
    assert all(np.isfinite(values).all() for values in result.per_clip.values())


def test_intervals_hold_their_means() -> None:
    result = measured([RIGHT[0], RIGHT[1], WRONG[2]])
    for name in ("cider", "rouge_l", "sentence_similarity"):
        figure = result.overall[name]
        assert figure.low < figure.value < figure.high


def test_references_are_embedded_once_for_all_systems() -> None:
    embedded: list[str] = []

    class Counting(FakeClap):
        def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
            embedded.extend(texts)
            return super().embed_text(texts)

    clap, references = Counting(), References([["one"], ["two"]], java=False)
    for word in ("three", "four"):
        measure([Said(word, ())] * 2, references, None, clap.embed_text)
    assert sorted(embedded) == sorted(["one", "two", "three", "three", "four", "four"])


def test_another_text_tower_embeds_the_references_anew() -> None:
    references = References(REFERENCES, java=False)
    first = references.mean_vectors(FakeClap().embed_text)
    assert references.mean_vectors(lambda texts: -FakeClap().embed_text(texts)) == pytest.approx(-first)


@pytest.mark.usefixtures("no_java")
def test_without_java_words_are_cut_here_and_metrics_in_java_are_left_out_with_the_reason() -> None:
    result = measure(RIGHT, REFERENCES, None, FakeClap().embed_text)
    assert result.tokenizer == "words"
    assert result.left_out == {"meteor": "there is no Java", "spice": "there is no Java"}
    assert result.overall["cider"].value == pytest.approx(10.0)


def test_a_metric_in_java_that_fails_is_left_out_and_the_rest_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(job: str, payload: Any, seconds: float) -> list[float]:
        if job == "spice":
            raise JavaFailed("spice took longer than java_seconds = 300")
        return [0.25, 0.5, 0.75]

    monkeypatch.setattr(scores, "ask_java", answer)
    monkeypatch.setattr("evaluation.metrics.spice_missing", lambda: None)
    result = measure(RIGHT, References(REFERENCES, java=False), None, FakeClap().embed_text, java=True)
    assert result.overall["meteor"].value == pytest.approx(0.5)
    assert result.left_out == {"spice": "spice took longer than java_seconds = 300"}


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 captions for the references of 3 clips"):
        measured(RIGHT[:2])
    with pytest.raises(ValueError, match="3 captions, 1 audio vectors for the references of 3 clips"):
        measured(RIGHT, np.zeros((1, 64), dtype=np.float32))


def test_a_clip_whose_references_have_no_word_is_refused() -> None:
    with pytest.raises(ValueError, match="no reference of clip 1 has a word"):
        References([["rain"], ["...", ""]], java=False)
    with pytest.raises(ValueError, match="no clips"):
        References([], java=False)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "find_spec", lambda _: None)
    with pytest.raises(scores.MetricsMissing, match=r"pip install drcap\[eval\]"):
        measured(RIGHT)


def test_a_paired_difference_is_surer_than_its_sides() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=100)
    one = Measures({"cider": values + 0.1 + 0.01 * rng.normal(size=100)}, {})
    other = Measures({"cider": values}, {})
    figure = compare(one, other, "cider")
    assert 0.09 < figure.low < figure.value < figure.high < 0.11


def test_what_cannot_be_paired_is_refused() -> None:
    one, other = Measures({"cider": np.zeros(3)}, {}), Measures({"cider": np.zeros(2)}, {})
    with pytest.raises(ValueError, match="3 clips cannot be paired with 2"):
        compare(one, other, "cider")
    with pytest.raises(ValueError, match="'distinct2' has no value a clip"):
        compare(one, one, "distinct2")
