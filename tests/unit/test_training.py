"""Similarity selection, composed captions and training examples."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.composed import composed_captions
from training.corpora import SHIPPABLE, Corpus, training_corpora
from training.examples import ExampleOptions, ExampleSource
from training.similarity import SelectionRange, candidate_pool


def _unit_rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_candidates_lie_inside_the_range_most_similar_first() -> None:
    rows = _unit_rows(200)
    pool = candidate_pool(rows, SelectionRange(0.2, 0.7), size=10)
    for row, candidates in enumerate(pool):
        scores = rows[candidates[candidates >= 0]] @ rows[row]
        assert ((scores > 0.2) & (scores < 0.7)).all()
        assert (np.diff(scores) <= 1e-6).all()
        inside = np.sort((rows @ rows[row])[(rows @ rows[row] > 0.2) & (rows @ rows[row] < 0.7)])[::-1]
        np.testing.assert_allclose(scores, inside[:10], atol=1e-6)


def test_the_chunk_size_does_not_change_the_candidates() -> None:
    rows = _unit_rows(100)
    one = candidate_pool(rows, SelectionRange(0.1, 0.8), 6, chunk=100)
    assert np.array_equal(one, candidate_pool(rows, SelectionRange(0.1, 0.8), 6, chunk=7))


def test_a_corpus_smaller_than_the_pool_is_filled_up_with_none() -> None:
    pool = candidate_pool(_unit_rows(3), SelectionRange(-0.99, 0.99), size=5)
    assert pool.shape == (3, 5)
    assert (pool[:, 3:] == -1).all()


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        SelectionRange(0.8, 0.4)


def test_composed_captions_repeat_with_their_seed_and_are_distinct() -> None:
    captions = composed_captions(500, seed=3)
    assert captions == composed_captions(500, seed=3)
    assert captions != composed_captions(500, seed=4)
    assert len(set(captions)) == 500


def _source(**options: float) -> ExampleSource:
    captions = tuple(f"Sound number {i}." for i in range(60))
    selection = SelectionRange(-0.5, 0.9)
    return ExampleSource(
        [Corpus("one", captions, 1.0)],
        [_unit_rows(60)],
        ExampleOptions(selection=selection, keep_style=1.0, **options),  # type: ignore[arg-type]
    )


def test_examples_repeat_with_their_seed() -> None:
    draws = [_source().draw(np.random.default_rng(5)) for _ in range(2)]
    assert draws[0][1] == draws[1][1]
    assert draws[0][0].similar_captions == draws[1][0].similar_captions
    assert np.array_equal(draws[0][0].vector, draws[1][0].vector)


def test_a_caption_never_stands_in_its_own_prompt() -> None:
    rng = np.random.default_rng(0)
    source = _source(drop_similar=0.0)
    for _ in range(100):
        prompt, caption = source.draw(rng)
        assert caption not in prompt.similar_captions
        assert len(prompt.similar_captions) == 3


def test_the_projected_vector_does_not_use_the_caption_itself() -> None:
    rows = np.concatenate([np.eye(8, dtype=np.float32)[:1], np.eye(8, dtype=np.float32)[1:3]])
    options = ExampleOptions(selection=SelectionRange(-0.5, 0.9), project=1.0, noise=0.1, drop_similar=1.0)
    source = ExampleSource([Corpus("one", ("a", "b", "c"), 1.0)], [rows], options)
    prompt, _ = source.example(0, 0, np.random.default_rng(0))
    assert prompt.vector[0] == pytest.approx(0.0, abs=1e-6)
    assert np.linalg.norm(prompt.vector) == pytest.approx(1.0, abs=1e-5)


def test_remarks_on_the_recording_are_cut_or_dropped(tmp_path: Path) -> None:
    for name in SHIPPABLE:
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt", encoding="utf-8") as file:
            file.write(
                "audio_id,caption\n"
                "1,Waves break on rocks with heavy audio artifacts.\n"
                "2,Poor recording quality of something noisy.\n"
                "3,A dog barks at night.\n"
                "4,a dog barks at night\n"
            )
    corpora = {corpus.name: corpus.captions for corpus in training_corpora(tmp_path, seed=0)}
    assert corpora["mecat_sound"] == ("Waves break on rocks.", "A dog barks at night.")
