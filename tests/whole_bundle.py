"""A bundle with all of its parts, each tiny: a CLAP of transformers, a projector, a LoRA and a Llama."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.clap_backends import SIZES, write_huggingface
from tests.tiny_bundle import write_tiny_bundle

HIDDEN, INNER, RANK = 16, 24, 4


def write_whole_bundle(folder: Path) -> Path:
    """Random weights in true formats; 16 numbers from the CLAP to the LLM's 16."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_bundle(folder)
    section = write_huggingface(folder)
    edit_config(folder, clap=section.model_dump())
    torch.manual_seed(3)
    save_file(projector(), folder / "projector.safetensors")
    write_lora(folder / "adapter")
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    """Replace fields of bundle.json; None takes one away."""
    path = folder / "bundle.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {name: value for name, value in config.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def projector(inputs: int = SIZES.dimension, outputs: int = HIDDEN) -> dict[str, Tensor]:
    """The weights of one."""
    return {
        "linear1.weight": torch.randn(INNER, inputs), "linear1.bias": torch.randn(INNER),
        "linear2.weight": torch.randn(outputs, INNER), "linear2.bias": torch.randn(outputs),
    }  # fmt: skip


def write_lora(folder: Path, hidden: int = HIDDEN) -> None:
    """Of the tiny LLM's queries, as PEFT keeps it."""
    folder.mkdir()
    weights = {}
    for layer in range(2):
        at = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{at}.lora_A.weight"] = 0.1 * torch.randn(RANK, hidden)
        weights[f"{at}.lora_B.weight"] = 0.1 * torch.randn(hidden, RANK)
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
