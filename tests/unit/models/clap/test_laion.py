"""LAION's checkpoints: equal to the package's own forward and to transformers, strict, and nothing unpickled."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle.config import BundleError
from models.bundle.load import load_clap
from models.clap.htsat import audio_config
from tests.clap_backends import CAPTIONS, SIZES, sounds, write_huggingface, write_laion
from tests.clap_checkpoints import TRUE_SIZES, htsat_shapes, laion_shapes, random_weights

CPU = torch.device("cpu")


@pytest.mark.parametrize("fused", [False, True])
def test_the_same_weights_in_both_formats_give_the_same_vectors(tmp_path: Path, fused: bool) -> None:
    laion = load_clap(write_laion(tmp_path, fused=fused), tmp_path, CPU)
    huggingface = load_clap(write_huggingface(tmp_path, fused=fused), tmp_path, CPU)
    windows = sounds(48_000)
    np.testing.assert_allclose(laion.embed_audio(windows), huggingface.embed_audio(windows), atol=1e-4)
    np.testing.assert_allclose(laion.embed_text(CAPTIONS), huggingface.embed_text(CAPTIONS), atol=1e-4)
    assert laion.temperature == pytest.approx(huggingface.temperature)
    assert laion.fingerprint != huggingface.fingerprint


@pytest.mark.slow
def test_htsat_tiny_and_roberta_of_their_true_sizes_are_read(tmp_path: Path) -> None:
    # One layer of RoBERTa and few of its words: the rest is more of the same.
    sizes = replace(TRUE_SIZES, text_layers=1, vocabulary=300)
    section = write_laion(tmp_path, sizes=sizes)
    clap = load_clap(section, tmp_path, CPU)
    assert clap.embed_audio(sounds(48_000)[:1]).shape == clap.embed_text(["a dog"]).shape == (1, 512)


@pytest.mark.parametrize(("width", "depths"), [(96, (2, 2, 6, 2)), (128, (2, 2, 12, 2)), (256, (2, 2, 12, 2))])
def test_tiny_base_and_large_are_told_by_their_shapes(width: int, depths: tuple[int, ...]) -> None:
    shapes = htsat_shapes(replace(TRUE_SIZES, width=width, depths=depths))
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    config = audio_config(weights, Path("laion.pt"), 512)
    assert (config.patch_embeds_hidden_size, tuple(config.depths)) == (width, depths)
    assert tuple(config.num_attention_heads) == (4, 8, 16, 32)
    assert (config.hidden_size, config.window_size) == (8 * width, 8)


def test_texts_are_read_to_77_tokens(tmp_path: Path) -> None:
    clap = load_clap(write_laion(tmp_path), tmp_path, CPU)
    # Each letter x is a token of its own; two more stand at the ends.
    assert clap.reads_whole(["x" * 75, "x" * 76]) == [True, False]
    np.testing.assert_array_equal(clap.embed_text(["x" * 75 + "yz"]), clap.embed_text(["x" * 75 + "zy"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"logit_scale_a": None}, "lacks logit_scale_a"),
        ({"audio_branch.patch_embed.norm.bias": torch.zeros(9)}, r"patch_embed.norm.bias is \[9\], it should be \[8\]"),
        ({"text_branch.pooler.dense.weight": None}, "lacks text_model.pooler.dense.weight"),
        ({"visual.conv1.weight": torch.zeros(3)}, "holds unknown visual.conv1.weight"),
        ({"audio_branch.logmel_extractor.melW": torch.ones(513, 64)}, "other mel bands"),
    ],
)
def test_a_checkpoint_that_is_not_laions_is_refused_by_name(
    tmp_path: Path, change: dict[str, torch.Tensor | None], said: str
) -> None:
    section = write_laion(tmp_path)
    weights = {**random_weights(laion_shapes(SIZES)), **change}
    torch.save({name: value for name, value in weights.items() if value is not None}, tmp_path / section.source)
    with pytest.raises(BundleError, match=f"(?s)laion.pt.*{said}"):
        load_clap(section, tmp_path, CPU)


def _saved(value: object) -> bytes:
    into = io.BytesIO()
    torch.save(value, into)
    return into.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a checkpoint"),
        (b"PK\x03\x04 not a zip", "not a checkpoint"),
        (_saved([1]), "no state dict"),
        (_saved({"a": 1}), "'a' is not a tensor"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    section = write_laion(tmp_path)
    (tmp_path / section.source).write_bytes(content)
    with pytest.raises(BundleError, match=said):
        load_clap(section, tmp_path, CPU)
