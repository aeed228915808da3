from pathlib import Path

import pytest

from benchmarks.full_size.bundle import TINY, Sizes, write_bundle
from models.bundle.check import check_bundle


def test_the_bundle_is_whole(tmp_path: Path) -> None:
    write_bundle(tmp_path, TINY)
    checked = check_bundle(tmp_path)
    assert checked.problems == []
    assert checked.llm is not None
    assert (checked.embedding_dim, checked.llm.hidden) == (16, 32)


def test_the_full_sizes_are_those_of_a_llama_of_a_billion_parameters() -> None:
    sizes = Sizes()
    head = sizes.hidden // sizes.heads
    attention = 2 * sizes.hidden * (sizes.hidden + head * sizes.key_value_heads)
    layer = attention + 3 * sizes.hidden * sizes.inner + 2 * sizes.hidden
    assert sizes.vocabulary * sizes.hidden + sizes.layers * layer + sizes.hidden == pytest.approx(1.236e9, rel=1e-3)
