from pathlib import Path

from benchmarks.serving.plain import load_domain
from tests.benchmark_parts import CAPTIONS


def test_a_domain_is_read_as_it_was_written(domain: Path) -> None:
    captions, vectors = load_domain(domain)
    assert captions == CAPTIONS
    assert vectors.shape == (40, 40)
