"""DRCap's CLAP against the formulas it is made of, and what is refused in its place."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle.config import BundleError
from models.bundle.load import load_clap
from models.checkpoints import read_weights
from models.clap.wavcaps import stored_weights
from models.weights import MissingWeights
from tests.ase_numpy import AseInNumpy
from tests.clap_backends import CAPTIONS, SIZES, sounds, write_wavcaps
from tests.clap_checkpoints import ase_shapes, random_weights

CPU = torch.device("cpu")


def test_it_equals_a_recomputation_from_the_formulas(tmp_path: Path) -> None:
    from transformers import RobertaTokenizer

    clap = load_clap(write_wavcaps(tmp_path), tmp_path, CPU)
    weights = {name: value.numpy() for name, value in random_weights(ase_shapes(SIZES)).items()}
    ase = AseInNumpy(weights, floor=1e-6)
    noise, tone, _ = sounds(32_000)
    heard = [ase.hear(noise.astype(np.float64)), ase.hear(np.tile(tone.astype(np.float64), 5))]
    np.testing.assert_allclose(clap.embed_audio([noise, tone]), heard, atol=1e-4)
    tokenizer = RobertaTokenizer.from_pretrained(str(tmp_path / "words"))
    read = [ase.read(ids) for ids in tokenizer(list(CAPTIONS))["input_ids"]]
    np.testing.assert_allclose(clap.embed_text(CAPTIONS), read, atol=1e-4)
    assert clap.temperature == pytest.approx(0.05)


def test_silence_is_floored_where_drcap_floors_it_and_with_bert_where_wavcaps_does(tmp_path: Path) -> None:
    weights = {name: value.numpy() for name, value in random_weights(ase_shapes(SIZES)).items()}
    silence = np.zeros(320_000)
    (tmp_path / "bert").mkdir()
    for section, folder, floor in (
        (write_wavcaps(tmp_path), tmp_path, 1e-6),
        (write_wavcaps(tmp_path / "bert", kinds=2), tmp_path / "bert", 1e-10),
    ):
        if "bert" in folder.name:
            weights = {name: value.numpy() for name, value in random_weights(ase_shapes(SIZES, kinds=2)).items()}
        [heard] = load_clap(section, folder, CPU).embed_audio([silence.astype(np.float32)])
        np.testing.assert_allclose(heard, AseInNumpy(weights, floor).hear(silence), atol=1e-4)


def test_what_is_stored_gives_the_same_clap_without_the_classifier(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    section = write_wavcaps(tmp_path)
    kept = stored_weights(read_weights(tmp_path / "best_model.pt"))
    save_file({name: value.contiguous() for name, value in kept.items()}, tmp_path / "clap.safetensors")
    first = load_clap(section, tmp_path, CPU)
    again = load_clap(section.model_copy(update={"source": "clap.safetensors"}), tmp_path, CPU)
    assert again.fingerprint == first.fingerprint
    assert not any("tscam_conv" in name for name in kept)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audio_proj.0.weight": torch.zeros(16, 63)}, r"audio_proj.0.weight is \[16, 63\], it should be \[16, 64\]"),
        ({"text_proj.2.bias": None}, r"lacks text_proj.2.bias"),
        ({"audio_encoder.audio_enc.norm.extra": torch.zeros(1)}, r"holds unknown .*norm.extra"),
        ({"audio_encoder.audio_enc.bn0.weight": None}, r"has no bn0.weight"),
        ({"temp": torch.tensor(-1.0)}, "temperature is above 0"),
        (
            {"audio_encoder.audio_enc.audio_feats_extractor.log_trans.melW": torch.ones(513, 64)},
            r"other mel bands .*50 to 14000 Hz at 32000 Hz",
        ),
    ],
)
def test_a_checkpoint_that_is_not_ase_is_refused_by_name(
    tmp_path: Path, change: dict[str, torch.Tensor | None], said: str
) -> None:
    section = write_wavcaps(tmp_path)
    weights = {**random_weights(ase_shapes(SIZES)), **change}
    kept = {name: value for name, value in weights.items() if value is not None}
    torch.save({"model": kept}, tmp_path / "best_model.pt")
    with pytest.raises(BundleError, match=f"(?s)best_model.pt.*{said}"):
        load_clap(section, tmp_path, CPU)


def test_the_cnn_of_wavcaps_is_refused(tmp_path: Path) -> None:
    section = write_wavcaps(tmp_path)
    torch.save(
        {"model": {"audio_encoder.audio_enc.conv_block1.conv1.weight": torch.zeros(3)}}, tmp_path / section.source
    )
    with pytest.raises(BundleError, match=r"has no embeddings\.word_embeddings\.weight"):
        load_clap(section, tmp_path, CPU)


def test_a_missing_checkpoint_and_a_missing_tokenizer_are_named(tmp_path: Path) -> None:
    section = write_wavcaps(tmp_path)
    with pytest.raises(MissingWeights, match="no words/at/all"):
        load_clap(section.model_copy(update={"tokenizer": "./no words/at/all"}), tmp_path, CPU)
    (tmp_path / section.source).unlink()
    with pytest.raises(MissingWeights, match=r"best_model\.pt"):
        load_clap(section, tmp_path, CPU)


def test_a_tokenizer_with_more_words_than_the_text_tower_is_refused(tmp_path: Path) -> None:
    section = write_wavcaps(tmp_path)
    merges = tmp_path / "words" / "vocab.json"
    merges.write_text(
        merges.read_text(encoding="utf-8").replace('"sea":', '"sea":').rstrip("}") + ',"zzz":5000}', "utf-8"
    )
    with pytest.raises(BundleError, match="token 5000"):
        load_clap(section, tmp_path, CPU)
