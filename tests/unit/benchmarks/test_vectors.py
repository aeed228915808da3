import numpy as np

from benchmarks.vectors import extend, heard
from tests.benchmark_parts import unit_vectors


def test_a_support_holds_the_vectors_given_and_then_their_relations() -> None:
    vectors = unit_vectors(50)
    support = extend(vectors, 120, 16)
    np.testing.assert_allclose(support[:50], vectors, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(support, axis=1), 1.0, atol=1e-5)
    cosines = np.sum(support[50:100] * vectors, axis=1)
    assert 0.7 < cosines.mean() < 0.99


def test_queries_with_more_dimensions_stay_near_their_captions() -> None:
    vectors = unit_vectors(200)
    support, queries = extend(vectors, 200, 24), heard(vectors, 24)
    assert support.shape == queries.shape == (200, 24)
    own = np.sum(support * queries, axis=1).mean()
    assert own > np.mean(support @ queries.T) + 0.2
