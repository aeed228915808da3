from dataclasses import replace

import pytest
import torch

from models.clap.alignment import TEXT_DIM
from research.alignment.fit import Recipe, build_examples, fit_kernel
from research.alignment.sentences import read_labels
from research.alignment.unseen import unseen
from tests.alignment_parts import head_without_kernel, heard_waveform, unit_vectors


def test_a_kind_is_ranked_by_the_head_that_was_fitted_without_it() -> None:
    kinds = dict(zip(("rain", "dog", "owl"), unit_vectors(3, TEXT_DIM, 6), strict=True))
    heard, base = [heard_waveform(seed) for seed in range(3)], head_without_kernel()
    examples = build_examples(
        base, heard, {"rain": read_labels()["rain"]}, lambda texts: unit_vectors(len(texts), TEXT_DIM, 7)
    )
    targets = torch.stack(list(kinds.values()))
    right, wrong = (
        fit_kernel(base, replace(examples, targets=sign * targets), Recipe(ridge=1e-4)) for sign in (1.0, -1.0)
    )
    clips = [
        (kind, [(one.posteriors, one.features, one.categories, one.blocks)])
        for kind, one in zip(kinds, heard, strict=True)
    ]
    figure = unseen([(right, frozenset({"rain", "dog"})), (wrong, frozenset({"owl"}))], clips, kinds)
    assert figure.value == pytest.approx((1 + 1 + 1 / 3) / 3)
