"""The projection against its definition."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datastores.base import Statistics
from models.conditioning.projection import Projection


def _support(count: int, dimension: int, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    # A few shared directions and noise, like caption embeddings.
    rows = rng.normal(size=(count, 8)) @ rng.normal(size=(8, dimension)) + 0.8 * rng.normal(size=(count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _statistics(support: NDArray[Any]) -> Statistics:
    rows = support.astype(np.float64)
    return Statistics(len(rows), rows.mean(axis=0), np.cov(rows.T, bias=True))


def _query(support: NDArray[Any], seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    query = support[seed] + rng.normal(size=support.shape[1]) / np.sqrt(support.shape[1])
    return np.asarray(query / np.linalg.norm(query), dtype=np.float32)


def _exact(query: NDArray[Any], support: NDArray[Any], tau: float) -> NDArray[Any]:
    scores = support.astype(np.float64) @ query
    weights = np.exp((scores - scores.max()) / tau)
    return np.asarray((weights @ support) / weights.sum())


def _head(query: NDArray[Any], support: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    scores = support @ query
    best = np.argsort(-scores)[:count]
    return support[best], scores[best]


@pytest.mark.parametrize("tau", [0.03, 0.07])
def test_with_every_caption_given_the_projection_is_the_softmax_mean(tau: float) -> None:
    support = _support(40, 16, seed=1)
    query = _query(support, 3)
    vectors, scores = _head(query, support, 40)
    projected = Projection(tau, renormalise=False).project(query, vectors, scores, _statistics(support))
    np.testing.assert_allclose(projected, _exact(query, support, tau), atol=1e-6)


def test_renormalised_projections_are_unit_vectors() -> None:
    support = _support(40, 16, seed=1)
    query = _query(support, 3)
    vectors, scores = _head(query, support, 40)
    projected = Projection(0.07).project(query, vectors, scores, _statistics(support))
    assert np.linalg.norm(projected) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("tau", [0.03, 0.05, 0.07])
def test_the_closed_form_tail_stands_in_for_the_captions_not_given(tau: float) -> None:
    support = _support(20_000, 64, seed=2)
    statistics = _statistics(support)
    with_tail, without = [], []
    for seed in range(20):
        query = _query(support, seed)
        vectors, scores = _head(query, support, 256)
        exact = _exact(query, support, tau)
        exact /= np.linalg.norm(exact)
        with_tail.append(float(Projection(tau).project(query, vectors, scores, statistics) @ exact))
        head_only = Statistics(len(vectors), statistics.mean, statistics.covariance)
        without.append(float(Projection(tau).project(query, vectors, scores, head_only) @ exact))
    assert np.mean(with_tail) > 0.99
    assert min(with_tail) > 0.97
    assert np.mean(with_tail) > np.mean(without)


def test_a_lone_caption_is_its_own_projection() -> None:
    support = _support(1, 16, seed=1)
    query = np.asarray(-support[0], dtype=np.float32)
    projected = Projection(0.05).project(query, support, support @ query, _statistics(support))
    np.testing.assert_allclose(projected, support[0], atol=1e-6)


def test_a_tiny_temperature_does_not_overflow_and_gives_the_nearest_caption() -> None:
    support = _support(500, 16, seed=4)
    query = _query(support, 7)
    vectors, scores = _head(query, support, 100)
    projected = Projection(1e-4).project(query, vectors, scores, _statistics(support))
    np.testing.assert_allclose(projected, vectors[0], atol=1e-4)


def test_equal_captions_beyond_the_head_change_nothing() -> None:
    one = _support(1, 16, seed=5)
    support = np.repeat(one, 1000, axis=0)
    query = _query(_support(10, 16, seed=6), 2)
    projected = Projection(0.05).project(query, support[:50], support[:50] @ query, _statistics(support))
    np.testing.assert_allclose(projected, one[0], atol=1e-5)


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Projection(0.0)


def test_no_caption_at_all_is_refused() -> None:
    support = _support(3, 16, seed=1)
    with pytest.raises(ValueError, match="at least one caption"):
        Projection(0.05).project(support[0], support[:0], np.empty(0, dtype=np.float32), _statistics(support))


def _topics(count: int, dimension: int, seed: int) -> NDArray[Any]:
    """Captions in a few hundred topics of very different sizes: near a query there are more than a Gaussian has."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(300, dimension))
    shares = 1.0 / np.arange(1, 301)
    rows = centres[rng.choice(300, count, p=shares / shares.sum())] + rng.normal(size=(count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("tau", [0.05, 0.07])
def test_the_tail_follows_the_head_where_captions_come_in_topics(tau: float) -> None:
    support = _topics(40_000, 96, seed=3)
    statistics = _statistics(support)
    cosines = []
    for seed in range(20):
        query = _query(support, seed)
        vectors, scores = _head(query, support, 512)
        exact = _exact(query, support, tau)
        cosines.append(
            float(Projection(tau).project(query, vectors, scores, statistics) @ exact) / np.linalg.norm(exact)
        )
    assert np.mean(cosines) > 0.9975
    assert min(cosines) > 0.995


@pytest.mark.parametrize("head", [1, 60, 119])
def test_a_head_of_one_or_of_most_captions_still_gives_a_near_projection(head: int) -> None:
    support = _support(120, 16, seed=8)
    query = _query(support, 5)
    vectors, scores = _head(query, support, head)
    projected = Projection(0.3).project(query, vectors, scores, _statistics(support))
    exact = _exact(query, support, 0.3)
    assert float(projected @ exact) / np.linalg.norm(exact) > 0.97
