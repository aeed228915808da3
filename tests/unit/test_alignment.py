from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.clap.aisfx import CATEGORY_HEADS, WrongWeights
from models.clap.alignment import (
    CATEGORIES,
    INPUTS,
    MISSING,
    TEXT_DIM,
    AlignmentHead,
    category_columns,
    category_posteriors,
)
from training.alignment_augment import low_pass, make_example, mix, noise
from training.alignment_data import read_categories, read_labels
from training.alignment_fit import Examples, Recipe, fit
from training.alignment_synthesis import RECIPES, synthesise

CPU = torch.device("cpu")


def _examples(count: int) -> Examples:
    generator = torch.Generator().manual_seed(0)
    return Examples(
        posteriors=torch.softmax(torch.randn(count, len(CATEGORIES), generator=generator), dim=1),
        inputs=torch.randn(count, INPUTS, generator=generator),
        targets=torch.nn.functional.normalize(torch.randn(count, TEXT_DIM, generator=generator), dim=1),
        weights=torch.ones(count),
        labels=[("rain",) if index % 2 else ("dog", "rain") for index in range(count)],
        collections=[("a",) if index < 4 else ("b",) for index in range(count)],
    )


def _head(count: int = 12) -> AlignmentHead:
    categories = torch.nn.functional.normalize(
        torch.randn(len(CATEGORIES), TEXT_DIM, generator=torch.Generator().manual_seed(1)), dim=1
    )
    return fit(_examples(count), categories, torch.full((TEXT_DIM,), 0.01), Recipe(ridge=1e-4))


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


def test_a_training_example_is_heard_as_its_caption() -> None:
    examples, head = _examples(12), _head()
    heard = head(examples.posteriors, examples.inputs)
    assert (heard * examples.targets).sum(dim=1).min() > 0.99


def test_what_was_never_heard_is_left_to_the_prior() -> None:
    head = _head()
    far = -head.landmarks[:1] * head.input_scale + head.input_mean
    posteriors = _examples(1).posteriors
    cosine = (head(posteriors, far * 50) * head.prior(posteriors)).sum()
    assert cosine > 0.95


def test_examples_of_a_group_or_a_set_can_be_held_out() -> None:
    labels = {"rain": read_labels()["rain"], "dog": read_labels()["dog"]}
    assert set(_examples(8).without(["dog"], [], labels).labels) == {("rain",)}
    assert len(_examples(8).without([], ["a"], labels).inputs) == 4


def test_saved_weights_are_loaded_strictly(tmp_path: Path) -> None:
    head, path = _head(), tmp_path / "clap.safetensors"
    save_file(head.state_dict(), path)
    assert AlignmentHead.from_file(path, CPU).fingerprint() == head.fingerprint()
    state = head.state_dict()
    del state["text_mean"]
    save_file(state, path)
    with pytest.raises(WrongWeights, match="text_mean"):
        AlignmentHead.from_file(path, CPU)
    path.write_bytes(b"not safetensors")
    with pytest.raises(WrongWeights, match="does not hold an alignment head"):
        AlignmentHead.from_file(path, CPU)


def test_other_weights_have_another_fingerprint() -> None:
    assert _head(12).fingerprint() != _head(11).fingerprint()


def test_every_category_and_label_has_sentences() -> None:
    assert set(read_categories()) == set(CATEGORIES)
    assert set(RECIPES) <= set(read_labels())
    assert all(label.captions and label.group for label in read_labels().values())


def test_examples_are_reproduced_by_their_seed() -> None:
    clips = [noise(50_000, 1.0, np.random.default_rng(n)) for n in range(3)]
    arguments = (clips, np.full(3, 1 / 3), ["a", "b", "c"], 0.5)
    first = [make_example(*arguments, np.random.default_rng(7)) for _ in range(2)]
    assert first[0].sources == first[1].sources
    np.testing.assert_array_equal(first[0].samples, first[1].samples)
    assert first[0].samples.dtype == np.float32


def test_a_mixture_keeps_the_wanted_distance_in_level() -> None:
    one, other = np.ones(1_000, dtype=np.float32), np.full(500, 0.01, dtype=np.float32)
    assert mix(one, other, 20.0)[:500] == pytest.approx(1.1, abs=1e-4)


def test_a_low_pass_removes_what_is_above_it() -> None:
    rough = noise(44_100, 0.0, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(low_pass(rough, 4_000)))
    assert spectrum[8_000:].max() < 1e-3 * spectrum[:3_000].max()


def test_every_recipe_makes_sound() -> None:
    for label, samples in synthesise(1, np.random.default_rng(0)):
        assert label in RECIPES
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() > 0
