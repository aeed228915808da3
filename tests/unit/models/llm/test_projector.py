"""The projector's shapes and its strict loading."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.llm.projector import Projector


def _saved(tmp_path: Path, **changes: torch.Tensor | None) -> Path:
    weights = dict(Projector(8, 16, 12, tokens=2).state_dict())
    for name, tensor in changes.items():
        key = name.replace("_", ".")
        if tensor is None:
            weights.pop(key)
        else:
            weights[key] = tensor
    path = tmp_path / "projector.safetensors"
    save_file(weights, path)
    return path


def test_a_vector_becomes_the_tokens_the_file_holds(tmp_path: Path) -> None:
    projector = Projector.load(_saved(tmp_path), embedding_dim=8, llm_dim=12)
    assert projector(torch.zeros(3, 8)).shape == (3, 2, 12)


def test_half_precision_files_are_read_as_float(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({k: v.half() for k, v in Projector(8, 16, 12, 1).state_dict().items()}, path)
    assert Projector.load(path, 8, 12).linear1.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linear2_bias": None}, "linear2.bias"),
        ({"extra": torch.zeros(1)}, "extra"),
    ],
)
def test_missing_and_unknown_tensors_are_refused_by_name(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Projector.load(_saved(tmp_path, **changes), 8, 12)


def test_another_claps_projector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the CLAP gives 9"):
        Projector.load(_saved(tmp_path), 9, 12)


def test_another_llms_projector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of the LLM's 7"):
        Projector.load(_saved(tmp_path), 8, 7)
