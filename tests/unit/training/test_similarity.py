import math

import numpy as np
import pytest

from tests.fakes import FakeClap
from tests.tiny_bundle import tiny_captions
from tests.training_parts import unit_rows
from training import similarity
from training.similarity import SelectionRange, candidate_pool, choose_range, on_grid


def test_candidates_lie_inside_the_range_most_similar_first() -> None:
    rows = unit_rows(200)
    pool = candidate_pool(rows, SelectionRange(0.2, 0.7), size=10)
    for row, candidates in enumerate(pool):
        scores = rows[candidates[candidates >= 0]] @ rows[row]
        assert ((scores > 0.2) & (scores < 0.7)).all()
        assert (np.diff(scores) <= 1e-6).all()
        inside = np.sort((rows @ rows[row])[(rows @ rows[row] > 0.2) & (rows @ rows[row] < 0.7)])[::-1]
        np.testing.assert_allclose(scores, inside[:10], atol=1e-6)


@pytest.mark.kernels
def test_the_chunk_size_does_not_change_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unit_rows(100)
    one = candidate_pool(rows, SelectionRange(0.1, 0.8), 6)
    monkeypatch.setattr(similarity, "_SCORES_AT_ONCE", 700)
    assert np.array_equal(one, candidate_pool(rows, SelectionRange(0.1, 0.8), 6))


@pytest.mark.kernels
def test_the_order_in_which_a_similarity_is_added_up_changes_neither_range_nor_candidates() -> None:
    vectors = FakeClap().embed_text(tiny_captions(120))
    other_way = np.ascontiguousarray(vectors[:, np.random.default_rng(0).permutation(64)])
    chosen = choose_range([vectors], seed=1)
    assert choose_range([other_way], seed=1) == chosen
    assert np.array_equal(candidate_pool(vectors, chosen, 12), candidate_pool(other_way, chosen, 12))


@pytest.mark.kernels
def test_a_caption_at_the_edge_of_the_range_is_outside_whatever_adds_up_its_similarity() -> None:
    vectors = on_grid(unit_rows(40))
    for row in range(40):
        exact = {other: math.fsum((vectors[row] * vectors[other]).tolist()) for other in range(40) if other != row}
        low, *_, high = sorted(exact.values())[10:-10]
        pool = candidate_pool(vectors.astype(np.float32), SelectionRange(low, high), 40)[row]
        assert set(pool[pool >= 0]) == {other for other, score in exact.items() if low < score < high}


def test_of_equally_similar_captions_the_first_are_candidates() -> None:
    rows = np.repeat(unit_rows(4), 30, axis=0)
    pool = candidate_pool(rows, SelectionRange(-0.99, 0.99), 40)
    scores = np.round(rows.astype(np.float64) @ rows.T.astype(np.float64), 4)
    for row, candidates in enumerate(pool):
        inside = [other for other in range(120) if other // 30 != row // 30]
        assert candidates.tolist() == sorted(inside, key=lambda other: (-scores[row][other], other))[:40]


def test_no_caption_is_a_candidate_of_its_own() -> None:
    pool = candidate_pool(unit_rows(50), SelectionRange(-1.0, 1.0), 50)
    assert not (pool == np.arange(50)[:, None]).any()
    assert (np.sort(pool, axis=1)[:, 1:] >= 0).all()


def test_the_chosen_range_lies_between_unrelated_captions_and_near_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(unit_rows(50), 8, axis=0)
    rows = centres + 0.12 * rng.normal(size=centres.shape).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    chosen = choose_range([rows], seed=1)
    own = np.sort(rows @ rows.T, axis=1)[:, -8:-1]
    assert np.quantile(rows @ rows.T, 0.9) < chosen.low < chosen.high < 1
    assert own.min(axis=1).mean() < chosen.high <= own.max()
    assert choose_range([rows], seed=1) == chosen
    monkeypatch.setattr(similarity, "_SCORES_AT_ONCE", 900)
    assert choose_range([rows], seed=1).high == pytest.approx(chosen.high, abs=1e-6)


def test_a_range_is_found_even_where_all_captions_are_near_copies() -> None:
    rows = np.ones((20, 8), dtype=np.float32) / np.sqrt(8.0)
    chosen = choose_range([np.asarray(rows, dtype=np.float32)], seed=0)
    assert chosen.high - chosen.low >= 0.09


def test_a_corpus_smaller_than_the_pool_is_filled_up_with_none() -> None:
    pool = candidate_pool(unit_rows(3), SelectionRange(-0.99, 0.99), size=5)
    assert pool.shape == (3, 5)
    assert (pool[:, 3:] == -1).all()


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        SelectionRange(0.8, 0.4)
