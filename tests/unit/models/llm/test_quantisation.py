"""Linear layers quantised through torchao, as far as a CPU can tell."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models.llm.batch_check import LlmCheck
from models.llm.execution import begin_batches
from models.llm.language_model import load_llm
from models.llm.quantisation import MissingLibrary, memory_needed, quantisable, quantise
from models.weights import WrongWeights
from tests.tiny_llms import gpt2, llama, save_llm

CPU = torch.device("cpu")
LINEAR = 2 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 16 * 32)
"""Weights in the linear layers of the tiny Llama, but for its output layer."""


def test_the_output_layer_is_left_as_it_is() -> None:
    model = llama()
    names = quantisable(model, "int8")
    assert len(names) == 14
    assert "lm_head" not in names
    assert sum(layer.weight.numel() for layer in names.values()) == LINEAR


def test_layers_that_a_kernel_cannot_take_are_left_as_they_are() -> None:
    assert not quantisable(llama(), "int4")
    # Those with 8 outputs, of keys and values.
    assert len(quantisable(llama(), "fp8")) == 10


def test_memory_is_that_of_the_weights_once_quantised() -> None:
    model = llama()
    total = sum(parameter.numel() for parameter in model.parameters())
    assert memory_needed(model, torch.float32, "none") == 4 * total
    assert memory_needed(model, torch.bfloat16, "none") == 2 * total
    assert memory_needed(model, torch.bfloat16, "int8") == 2 * total - LINEAR


def test_a_model_without_such_layers_is_refused() -> None:
    with pytest.raises(WrongWeights, match="GPT2LMHeadModel has no linear layer that int8 can be made of"):
        quantise(gpt2(), "int8", CPU)


def test_a_library_that_is_not_installed_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(MissingLibrary, match=r"pip install 'drcap\[gpu\]'"):
        quantise(llama(), "int8", CPU)


def test_int8_weights_write_what_those_of_full_precision_write(tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed: pip install 'drcap[gpu]'")
    llm = load_llm(save_llm(tmp_path), torch.bfloat16)
    check = LlmCheck(llm)
    before = sum(parameter.nbytes for parameter in llm.model.parameters())
    wanted = memory_needed(llm.model, torch.bfloat16, "int8")
    assert quantise(llm.model, "int8", CPU) == 14
    kinds = {type(layer.weight).__name__ for layer in quantisable(llm.model, "int8").values()}
    assert kinds == {"Int8Tensor"}
    check(begin_batches(llm, int8=False))
    weights: list[Any] = [layer.weight for layer in quantisable(llm.model, "int8").values()]
    taken = sum(part.nbytes for weight in weights for part in (weight.qdata, weight.scale))
    rest = before - 2 * LINEAR
    # The scales are a few bytes a row, which a model of real size does not notice.
    assert wanted <= rest + taken <= 1.2 * wanted
