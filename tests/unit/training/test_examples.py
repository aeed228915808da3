from typing import Any

import numpy as np
import pytest

from models.clap.sounds import Sounds
from tests.fakes import FakeClap
from tests.tiny_bundle import tiny_captions
from tests.training_parts import embedded, example_source, sounds, unit_rows
from training.examples import ExampleOptions, ExampleSource
from training.similarity import SelectionRange, choose_range


def test_examples_repeat_with_their_seed() -> None:
    one, two = (example_source(restyle=0.5).draw(np.random.default_rng(5)) for _ in range(2))
    assert one.captions == two.captions
    for mine, its in zip(one.prompts, two.prompts, strict=True):
        assert (mine.similar_captions, mine.sounds) == (its.similar_captions, its.sounds)
        assert np.array_equal(mine.vector, its.vector)


@pytest.mark.kernels
def test_the_order_in_which_a_similarity_is_added_up_changes_no_example() -> None:
    captions, vectors = tiny_captions(125), FakeClap().embed_text(tiny_captions(125))
    order = np.random.default_rng(0).permutation(64)
    turned = np.ascontiguousarray(vectors[:, order])
    options = ExampleOptions(choose_range([vectors], seed=1), noise=0.0, project=0.0, plain=0.0, drop=0.0, mishear=0.0)
    kinds = sounds(64)
    turned_kinds = Sounds(kinds.names, np.ascontiguousarray(kinds.vectors[:, order]))
    sources = [
        ExampleSource([embedded(captions, one)], of_clap, options)
        for one, of_clap in ((vectors, kinds), (turned, turned_kinds))
    ]
    for seed in range(200):
        one, other = (source.draw(np.random.default_rng(seed)) for source in sources)
        assert one.captions == other.captions
        for mine, its in zip(one.prompts, other.prompts, strict=True):
            assert mine.similar_captions == its.similar_captions
            assert np.array_equal(mine.vector[order], its.vector)


def test_no_caption_stands_in_its_own_prompt() -> None:
    rng = np.random.default_rng(0)
    source = example_source(plain=0.0, drop=0.0, similar=(3, 3))
    for _ in range(100):
        example = source.draw(rng)
        assert len(set(example.captions)) == len(example.captions)
        similar = example.prompts[0].similar_captions
        assert not set(example.captions) & set(similar)
        assert len(similar) == 3


def test_shares_of_examples_are_those_asked_for() -> None:
    rng = np.random.default_rng(0)
    source = example_source(plain=0.3, blind=0.4, similar=(2, 2), drop=0.0)
    examples = [source.draw(rng) for _ in range(400)]
    assert np.mean([not e.prompts[0].similar_captions for e in examples]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([not e.prompts[0].vector.any() for e in examples]) == pytest.approx(0.4, abs=0.07)


def test_similar_captions_are_left_out_at_random() -> None:
    def mean_number(drop: float) -> float:
        source = example_source(plain=0.0, drop=drop, similar=(40, 40), mishear=0.0)
        drawn = (source.draw(np.random.default_rng(i)) for i in range(50))
        return float(np.mean([len(one.prompts[0].similar_captions) for one in drawn]))

    assert mean_number(0.5) == pytest.approx(mean_number(0.0) / 2, rel=0.15)


def test_the_projected_vector_does_not_use_the_caption_itself() -> None:
    rows = np.concatenate([np.eye(8, dtype=np.float32)[:1], np.eye(8, dtype=np.float32)[1:3]])
    options = ExampleOptions(SelectionRange(-0.5, 0.9), project=1.0, noise=0.1, plain=1.0, blind=0.0, mishear=0.0)
    source = ExampleSource([embedded("abc", rows)], sounds(8), options)
    vector = source.example(0, 0, np.random.default_rng(0)).prompts[0].vector
    assert vector[0] == pytest.approx(0.0, abs=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_what_is_misheard_is_less_like_the_captions_and_still_a_unit_vector() -> None:
    def likeness(mishear: float) -> float:
        source, rng = example_source(mishear=mishear, project=0.0, noise=0.0, targets=1), np.random.default_rng(0)
        found = []
        for row in range(60):
            vector = source.example(0, row, rng).prompts[0].vector
            assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
            found.append(float(vector @ unit_rows(60)[row]))
        return float(np.mean(found))

    assert likeness(0.0) == pytest.approx(1.0, abs=1e-5)
    assert 0.3 < likeness(1.0) < 0.9


@pytest.mark.parametrize("wrong", [{"plain": 1.2}, {"similar": (3, 2)}, {"targets": 0}, {"noise": -1.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        example_source(**wrong)
