import numpy as np

from benchmarks.exact import exact_all, exact_numpy
from tests.benchmark_parts import unit_vectors


def test_the_exact_projection_of_many_queries_is_that_of_each_alone() -> None:
    support, queries = unit_vectors(40_000), unit_vectors(3)
    exact = exact_all(queries, support, [0.07], 4)
    for row, query in enumerate(queries):
        np.testing.assert_allclose(exact.projected[0.07][row], exact_numpy(query, support, 0.07), atol=1e-4)
        assert list(exact.rows[row]) == list(np.argsort(-(support @ query), kind="stable")[:4])
