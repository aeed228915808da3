"""GGUF files: the same numbers as in the file, and a converted copy for the next start."""

from pathlib import Path

import pytest
import torch

from models.llm.gguf_conversion import load_converted
from models.llm.language_model import load_llm
from models.weights import WrongWeights
from tests.tiny_llms import save_gguf


def test_an_llm_in_a_gguf_file_is_the_llm_it_was_made_of(tmp_path: Path) -> None:
    model = save_gguf(tmp_path / "tiny.gguf")
    ids = torch.tensor([[5, 9, 20, 33]])
    with torch.no_grad():
        expected = model(ids).logits
        torch.testing.assert_close(load_llm(tmp_path / "tiny.gguf").model(ids).logits, expected, atol=1e-4, rtol=0)
        first = load_converted(tmp_path / "tiny.gguf", tmp_path / "cache")
        torch.testing.assert_close(first.model(ids).logits, expected, atol=1e-4, rtol=0)
        again = load_converted(tmp_path / "tiny.gguf", tmp_path / "cache", torch.bfloat16)
    assert again.model.dtype == torch.bfloat16
    assert again.end_token == first.end_token
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_gguf_file_is_given_in_the_type_that_was_asked_for_at_the_first_start_too(tmp_path: Path) -> None:
    save_gguf(tmp_path / "tiny.gguf")
    assert load_converted(tmp_path / "tiny.gguf", tmp_path / "cache", torch.bfloat16).model.dtype == torch.bfloat16


def test_a_gguf_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(WrongWeights, match=r"tiny\.gguf"):
        load_llm(tmp_path / "tiny.gguf")


def test_a_cache_that_cannot_be_written_is_told_with_its_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_gguf(tmp_path / "tiny.gguf")
    (tmp_path / "cache").write_text("a file")
    assert load_converted(tmp_path / "tiny.gguf", tmp_path / "cache", cache_setting="DRCAP_CACHE").hidden_size == 16
    assert "starts stay slow (DRCAP_CACHE)" in caplog.text
