from typing import Any

import numpy as np
import pytest

from tests.training_parts import sounds, unit_rows
from training.clauses import clauses
from training.mishearing import Mishearing, MishearingOptions

KINDS = sounds(8)


def mishearing(**options: float) -> Mishearing:
    return Mishearing(KINDS, MishearingOptions(**options))


def test_without_mistakes_the_kinds_that_a_caption_names_are_heard() -> None:
    right = mishearing(confused=0.0, missed=0.0, wrong=0.0, said=0.0, noise=0.0)
    heard = right.hear(KINDS.vectors[:5].astype(np.float64), np.random.default_rng(0))
    assert heard.weights.argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(heard.weights.sum(axis=1), 1.0)
    assert np.linalg.norm(heard.vectors, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert ((heard.vectors * KINDS.vectors[:5]).sum(axis=1) > 0.9).all()


def test_a_kind_that_is_missed_is_not_heard() -> None:
    deaf = mishearing(confused=0.0, missed=1.0, wrong=1.0, said=0.0, noise=0.0)
    heard = deaf.hear(np.repeat(KINDS.vectors[:1], 2, axis=0).astype(np.float64), np.random.default_rng(0))
    # What remains are kinds that are not there, the same for all captions of a recording.
    assert np.array_equal(heard.weights[0], heard.weights[1])
    assert heard.weights[0].argmax() != 0


def test_the_more_of_the_caption_itself_is_heard_the_nearer_is_the_vector() -> None:
    said = unit_rows(40).astype(np.float64)

    def likeness(share: float) -> float:
        heard = mishearing(said=share).hear(said, np.random.default_rng(3)).vectors
        return float((heard * said).sum(axis=1).mean())

    assert likeness(0.0) < likeness(0.5) < likeness(4.0)


def test_names_stand_in_the_order_of_the_clauses() -> None:
    weights = np.zeros(30)
    weights[[2, 4, 9]] = 0.5, 0.3, 0.2
    one = mishearing()
    assert one.in_order(weights, None) == (("kind 2", "kind 4", "kind 9"),)
    first, then = one.in_order(weights, KINDS.vectors[[4, 2]])
    assert first[0] == "kind 4"
    assert then[0] == "kind 2"
    assert sorted((*first, *then)) == ["kind 2", "kind 4", "kind 9"]
    assert one.in_order(np.full(30, 0.01), None) == ()


@pytest.mark.parametrize("wrong", [{"confused": 1.5}, {"missed": -0.1}, {"noise": -1.0}, {"said": -1.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MishearingOptions(**wrong)


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        ("A dog barks, followed by a siren.", ("A dog barks", "a siren.")),
        ("A dog barks and then growls, then runs", ("A dog barks", "growls", "runs")),
        ("Birds sing before a car passes", ("Birds sing", "a car passes")),
        ("Rain falls while a man speaks", ("Rain falls while a man speaks",)),
        ("then", ("then",)),
    ],
)
def test_clauses_are_split_where_a_caption_says_what_follows(caption: str, parts: tuple[str, ...]) -> None:
    assert clauses(caption) == parts
