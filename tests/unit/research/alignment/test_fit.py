import pytest
import torch

from models.clap.alignment import TEXT_DIM
from research.alignment.fit import UNSAID, Recipe, build_examples, fit_kernel, fit_priors
from research.alignment.sentences import read_classes, read_labels
from tests.alignment_parts import head_without_kernel, heard_waveform, kernel_examples, unit_vectors


def test_a_training_clip_is_heard_as_its_caption() -> None:
    names = ("rain", "dog", "fire", "frog", "clock", "owl")
    labels = {name: read_labels()[name] for name in names}
    words = dict(zip(names, unit_vectors(len(names), TEXT_DIM, 5), strict=True))
    captions = {caption: words[name] for name in names for caption in labels[name].captions}

    def embed(texts: list[str]) -> torch.Tensor:
        return torch.stack([captions[text] for text in texts])

    heard = [heard_waveform(seed, (name,)) for seed, name in enumerate(names)]
    base = head_without_kernel()
    head = fit_kernel(base, build_examples(base, heard, labels, embed), Recipe(ridge=1e-4))
    for item in heard:
        vector = head(head.frames(item.posteriors, item.features, item.categories, item.blocks))
        assert float(vector @ words[item.labels[0]]) > 0.99


def test_a_class_that_says_where_it_was_recorded_has_no_part_in_a_vector() -> None:
    classes, head = read_classes(), head_without_kernel()
    fit_priors(head, [heard_waveform(seed) for seed in range(4)], classes, Recipe())
    weights = {one.name: float(weight) for one, weight in zip(classes, head.class_weights, strict=True)}
    assert [name for name, weight in weights.items() if weight == 0.0] == [
        one.name for one in classes if one.name in UNSAID
    ]


def test_a_class_that_is_often_heard_counts_less() -> None:
    clips = [heard_waveform(seed) for seed in range(4)]
    for clip in clips:
        clip.posteriors[:, 0], clip.posteriors[:, 1] = 0.9, 0.01
    head = head_without_kernel()
    fit_priors(head, clips, read_classes(), Recipe(rareness=0.3))
    assert float(head.class_weights[1] / head.class_weights[0]) == pytest.approx(90**0.3, rel=1e-3)


def test_examples_of_a_group_or_a_set_can_be_held_out() -> None:
    labels = {"rain": read_labels()["rain"], "dog": read_labels()["dog"]}
    assert set(kernel_examples(8).without(["dog"], [], labels).labels) == {("rain",)}
    assert len(kernel_examples(8).without([], ["a"], labels).inputs) == 4
