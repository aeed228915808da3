"""Bootstrap intervals and the metrics, where those are installed."""

import numpy as np
import pytest

from evaluation.scores import bootstrap, cider


def test_the_interval_holds_the_mean_and_repeats() -> None:
    values = np.array([0.0, 1.0, 2.0, 5.0])
    figure = bootstrap(values)
    assert figure.low < figure.value == 2.0 < figure.high
    assert bootstrap(values) == figure


def test_equal_values_leave_no_doubt() -> None:
    figure = bootstrap(np.full(10, 0.3))
    assert figure.low == pytest.approx(0.3)
    assert figure.high == pytest.approx(0.3)


def test_a_caption_like_its_references_scores_above_one_unlike_them() -> None:
    pytest.importorskip("pycocoevalcap", reason="the extra eval is not installed")
    references = [["a dog barks at night", "a dog is barking"], ["rain falls on a roof", "rain is falling"]]
    right = cider(["a dog barks at night", "rain falls on a roof"], references)
    wrong = cider(["a cat meows by day", "bells ring in a tower"], references)
    assert (right > wrong).all()
