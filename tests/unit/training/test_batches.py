from typing import Any

import pytest
import torch

from tests.tiny_bundle import tiny_captions
from tests.training_parts import TEMPLATE, example, example_source, tiny_vectors
from training.batches import IGNORED, Batch, BatchSource, collate


def test_only_the_captions_and_their_end_are_asked_for(tiny: Any) -> None:
    batch = collate(tiny, TEMPLATE, [example(tiny_vectors(1)[0], ("Rain",), tuple(tiny_captions(2)))], 4)
    asked = batch.labels[0][batch.labels[0] != IGNORED].tolist()
    assert asked == [token for text in tiny_captions(2) for token in (*tiny.tokenize(" " + text), tiny.end_token)]


@pytest.mark.kernels
def test_a_batch_is_a_function_of_its_number_alone(tiny: Any) -> None:
    def batches() -> BatchSource:
        return BatchSource(tiny, TEMPLATE, example_source(), 2, 4, seed=1)

    def same(one: Batch, two: Batch) -> bool:
        return torch.equal(one.ids, two.ids) and torch.equal(one.vectors, two.vectors)

    forwards = batches()
    ahead = [forwards[i] for i in range(10)]
    assert same(batches()[9], ahead[9])
    assert same(forwards[2], ahead[2])
    assert not same(ahead[2], ahead[9])
