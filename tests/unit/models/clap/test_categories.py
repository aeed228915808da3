import torch

from models.clap.aisfx import CATEGORY_HEADS
from models.clap.categories import CATEGORIES, MISSING, category_columns, category_posteriors


def test_every_head_names_as_many_categories_as_it_has_classes() -> None:
    assert list(CATEGORIES) == sorted(CATEGORIES)
    for head, classes in CATEGORY_HEADS.items():
        assert len(category_columns(head)) == classes


def test_posteriors_sum_to_one_and_a_category_no_head_knows_gets_nothing() -> None:
    by_head = {head: torch.log_softmax(torch.randn(3, classes), dim=1) for head, classes in CATEGORY_HEADS.items()}
    posteriors = category_posteriors(by_head)
    torch.testing.assert_close(posteriors.sum(dim=1), torch.ones(3))
    unknown = set.intersection(*(set(missing) for missing in MISSING.values()))
    assert unknown == {"ARCHIVED"}
    assert posteriors[:, CATEGORIES.index("ARCHIVED")].max() < 1e-6
