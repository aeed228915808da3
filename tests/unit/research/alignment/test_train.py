from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.clap.aisfx import CATEGORY_HEADS, FEATURES, HIDDEN
from models.clap.alignment import INPUTS, TEXT_DIM, AlignmentHead, sounding
from models.clap.categories import CATEGORIES, MISSING, category_columns, category_posteriors
from models.clap.sounds import vocabulary
from models.clap.yamnet import CLASSES, SILENCE
from models.clap.yamnet import FEATURES as YAMNET_FEATURES
from models.weights import WrongWeights
from research.alignment.augment import low_pass, make_example, mix, noise
from research.alignment.captions import Lessons, Schooling, compose, train_network
from research.alignment.data import read_categories, read_classes, read_labels
from research.alignment.features import Heard
from research.alignment.fit import UNSAID, Examples, Recipe, build_examples, fit_kernel, fit_priors
from research.alignment.synthesis import RECIPES, synthesise
from research.alignment.unseen import unseen

CPU = torch.device("cpu")


def _unit(rows: int, columns: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def _heard(seed: int, labels: tuple[str, ...] = ("rain",), frames: int = 5, blocks: int = 2) -> Heard:
    generator = torch.Generator().manual_seed(seed)
    posteriors = torch.rand(frames, CLASSES, generator=generator) ** 4
    posteriors[:, SILENCE] = 0.0
    return Heard(
        posteriors,
        torch.rand(frames, YAMNET_FEATURES, generator=generator),
        torch.softmax(torch.randn(blocks, len(CATEGORIES), generator=generator), dim=1),
        torch.randn(blocks, FEATURES + HIDDEN, generator=generator),
        labels,
        ("a",),
    )


def _without_kernel() -> AlignmentHead:
    head = AlignmentHead(landmarks=0)
    head.text_mean.fill_(0.01)
    head.class_vectors.copy_(_unit(CLASSES, TEXT_DIM, 1))
    head.category_vectors.copy_(_unit(len(CATEGORIES), TEXT_DIM, 2))
    return head


def _examples(count: int) -> Examples:
    return Examples(
        written=_unit(count, TEXT_DIM, 3),
        inputs=torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(0)),
        targets=_unit(count, TEXT_DIM, 4),
        weights=torch.ones(count),
        labels=[("rain",) if index % 2 else ("dog", "rain") for index in range(count)],
        collections=[("a",) if index < 4 else ("b",) for index in range(count)],
    )


def _head(count: int = 12) -> AlignmentHead:
    return fit_kernel(_without_kernel(), _examples(count), Recipe(ridge=1e-4))


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


def test_a_training_clip_is_heard_as_its_caption() -> None:
    names = ("rain", "dog", "fire", "frog", "clock", "owl")
    labels = {name: read_labels()[name] for name in names}
    words = dict(zip(names, _unit(len(names), TEXT_DIM, 5), strict=True))
    captions = {caption: words[name] for name in names for caption in labels[name].captions}

    def embed(texts: list[str]) -> torch.Tensor:
        return torch.stack([captions[text] for text in texts])

    heard = [_heard(seed, (name,)) for seed, name in enumerate(names)]
    base = _without_kernel()
    head = fit_kernel(base, build_examples(base, heard, labels, embed), Recipe(ridge=1e-4))
    for item in heard:
        vector = head(head.frames(item.posteriors, item.features, item.categories, item.blocks))
        assert float(vector @ words[item.labels[0]]) > 0.99


def test_what_was_never_heard_is_left_to_the_rest_of_the_head() -> None:
    head, item = _head(), _heard(9)
    frames = head.frames(item.posteriors, item.features, item.categories, item.blocks)
    frames[:, -head.landmarks.shape[1] :] = -50 * head.landmarks.mean(dim=0)
    assert float(head(frames) @ head.written(head.prior(frames))) > 0.95


def test_frames_in_which_nothing_sounds_have_no_part_in_a_vector() -> None:
    head, item = _head(), _heard(9)
    frames = head.frames(item.posteriors, item.features, item.categories, item.blocks)
    silent = frames[:2].clone()
    silent[:, SILENCE] = 0.9
    torch.testing.assert_close(head(torch.cat([frames, silent])), head(frames))
    assert sounding(silent).tolist() == [True, True], "where nothing sounds, all frames are heard"


def test_a_class_that_says_where_it_was_recorded_has_no_part_in_a_vector() -> None:
    classes, head = read_classes(), _without_kernel()
    fit_priors(head, [_heard(seed) for seed in range(4)], classes, Recipe())
    weights = {one.name: float(weight) for one, weight in zip(classes, head.class_weights, strict=True)}
    assert [name for name, weight in weights.items() if weight == 0.0] == [
        one.name for one in classes if one.name in UNSAID
    ]


def test_a_class_that_is_often_heard_counts_less() -> None:
    clips = [_heard(seed) for seed in range(4)]
    for clip in clips:
        clip.posteriors[:, 0], clip.posteriors[:, 1] = 0.9, 0.01
    head = _without_kernel()
    fit_priors(head, clips, read_classes(), Recipe(rareness=0.3))
    assert float(head.class_weights[1] / head.class_weights[0]) == pytest.approx(90**0.3, rel=1e-3)


def test_the_network_learns_what_captions_make_of_their_classes() -> None:
    head, turned = _without_kernel(), torch.linalg.qr(torch.randn(TEXT_DIM, TEXT_DIM))[0]
    own = torch.nn.functional.normalize(head.class_vectors + 0.7 * head.class_vectors @ turned, dim=1)
    each = torch.eye(CLASSES)
    lessons = Lessons(own, 0.5 * each, own[:2], each[:2], own, each)
    before = torch.nn.functional.cosine_similarity(head.class_vectors, own).mean()
    train_network(head, lessons, Schooling(steps=150, noise=0.1, wrong=0.1, decay=0.0), seed=0)
    after = torch.nn.functional.cosine_similarity(head.network(head.class_vectors), own).mean()
    assert float(after) > float(before) + 0.05


def test_composed_sentences_name_the_classes_they_are_composed_of() -> None:
    classes = read_classes()
    sentences, members = compose(classes, 50, seed=3)
    assert (sentences, members) == compose(classes, 50, seed=3)
    for sentence, chosen in zip(sentences, members, strict=True):
        assert len(set(chosen)) == len(chosen) in (2, 3)
        for one in chosen:
            assert any(phrase.lower() in sentence.lower() for phrase in classes[one].phrases)


def test_a_kind_is_ranked_by_the_head_that_was_fitted_without_it() -> None:
    kinds = dict(zip(("rain", "dog", "owl"), _unit(3, TEXT_DIM, 6), strict=True))
    heard, base = [_heard(seed) for seed in range(3)], _without_kernel()
    examples = build_examples(
        base, heard, {"rain": read_labels()["rain"]}, lambda texts: _unit(len(texts), TEXT_DIM, 7)
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


def test_every_category_class_and_label_has_sentences() -> None:
    assert len(read_classes()) == CLASSES
    assert all(len(one.sentences) == 4 and len(one.phrases) == 2 for one in read_classes())
    assert read_classes()[SILENCE].name == "Silence"
    assert [one.name for one in read_classes()] == [kind.name for kind in vocabulary()]
    assert set(UNSAID) <= {one.name for one in read_classes()}
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
