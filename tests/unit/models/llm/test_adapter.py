"""A LoRA merged into the LLM it is for: the same numbers as beside it, and nothing that does not fit passes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.bundle.config import BundleError
from models.bundle.load import merge_adapter
from models.llm.adapter import merge_lora
from models.llm.language_model import Llm, load_llm
from models.weights import MissingWeights, WrongWeights
from tests.tiny_llms import gpt2, gpt_neox, llama, opt, qwen2, save_llm

IDS = torch.tensor([[5, 9, 20, 33, 41]])
FILE = "adapter_model.safetensors"
# What adapts the attention of each architecture.
LAYERS: dict[Callable[[], Any], list[str]] = {
    llama: ["q_proj", "v_proj"],
    qwen2: ["q_proj", "v_proj", "down_proj"],
    gpt_neox: ["query_key_value"],
    opt: ["q_proj", "fc1"],
    gpt2: ["c_attn"],
}


def save_lora(llm: Llm, layers: list[str], folder: Path, **how: Any) -> torch.Tensor:
    """Write a random LoRA with PEFT; returns the logits of the LLM with it beside the weights."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(2)
    adapted: Any = get_peft_model(llm.model, LoraConfig(r=4, lora_alpha=8, target_modules=layers, **how))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
        logits: torch.Tensor = adapted.eval()(IDS).logits
    adapted.save_pretrained(str(folder))
    return logits


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """Of the tiny Llama in ``llm`` beside it."""
    save_lora(load_llm(save_llm(tmp_path / "llm")), LAYERS[llama], tmp_path / "adapter")
    return tmp_path / "adapter"


def again(lora: Path) -> Llm:
    return load_llm(lora.parent / "llm")


@pytest.mark.parametrize("make", LAYERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("how", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
def test_merged_it_gives_the_logits_that_it_gives_beside_the_weights(
    make: Callable[[], Any], how: dict[str, Any], tmp_path: Path
) -> None:
    folder = save_llm(tmp_path / "llm", make)
    beside = save_lora(load_llm(folder), LAYERS[make], tmp_path / "adapter", **how)
    llm = load_llm(folder)
    with torch.no_grad():
        without = llm.model(IDS).logits
        merge_lora(llm, tmp_path / "adapter")
        merged = llm.model(IDS).logits
    torch.testing.assert_close(merged, beside, atol=1e-4, rtol=0)
    assert (merged - without).abs().max() > 0.05
    assert not [name for name, _ in llm.model.named_parameters() if "lora_" in name]


def test_a_lora_that_is_not_there_is_named(lora: Path) -> None:
    (lora / FILE).unlink()
    with pytest.raises(MissingWeights, match=FILE):
        merge_lora(again(lora), lora)
    with pytest.raises(BundleError, match=r"set llm\.adapter to false"):
        merge_adapter(again(lora), lora)


def test_a_pickle_is_refused_by_its_name_with_the_reason(lora: Path) -> None:
    (lora / FILE).rename(lora / "adapter_model.bin")
    with pytest.raises(WrongWeights, match=r"adapter_model\.bin, a pickle, which can run code"):
        merge_lora(again(lora), lora)


@pytest.mark.parametrize("change", ["lacks", "has more", "other shape"])
def test_a_lora_of_another_llm_is_refused_by_the_tensor(lora: Path, change: str) -> None:
    weights = load_file(lora / FILE)
    name = sorted(weights)[0]
    tensor = weights.pop(name)
    if change == "has more":
        weights |= {name: tensor, name.replace("layers.0", "layers.7"): tensor.clone()}
    elif change == "other shape":
        weights[name] = torch.zeros(3, 3)
    save_file(weights, lora / FILE)
    with pytest.raises(WrongWeights, match=r"does not fit LlamaForCausalLM.*layers\.[07]"):
        merge_lora(again(lora), lora)


def test_a_lora_of_layers_that_the_llm_does_not_have_is_refused(lora: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongWeights, match="does not fit GPT2LMHeadModel"):
        merge_lora(load_llm(save_llm(tmp_path / "other", gpt2)), lora)


def test_an_adapter_that_is_no_lora_is_refused(lora: Path) -> None:
    config = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "PREFIX_TUNING"}))
    with pytest.raises(WrongWeights, match="PREFIX_TUNING"):
        merge_lora(again(lora), lora)
