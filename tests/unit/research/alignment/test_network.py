import torch

from models.clap.alignment import TEXT_DIM
from models.clap.yamnet import CLASSES
from research.alignment.network import Lessons, NetworkOptions, compose, train_network
from research.alignment.sentences import read_classes
from tests.alignment_parts import head_without_kernel


def test_the_network_learns_what_captions_make_of_their_classes() -> None:
    head, turned = head_without_kernel(), torch.linalg.qr(torch.randn(TEXT_DIM, TEXT_DIM))[0]
    own = torch.nn.functional.normalize(head.class_vectors + 0.7 * head.class_vectors @ turned, dim=1)
    each = torch.eye(CLASSES)
    lessons = Lessons(own, 0.5 * each, own[:2], each[:2], own, each)
    before = torch.nn.functional.cosine_similarity(head.class_vectors, own).mean()
    train_network(head, lessons, NetworkOptions(steps=150, noise=0.1, wrong=0.1, decay=0.0), seed=0)
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
