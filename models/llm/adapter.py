"""The adapter: a LoRA in PEFT's format, read, checked against its LLM, merged into it, and written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models.checkpoints import Weights, check_names, read_weights
from models.llm.language_model import Llm
from models.weights import MissingWeights, WrongWeights

_WEIGHTS, _PICKLE = "adapter_model.safetensors", "adapter_model.bin"
_IN_GGUF = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
_LAYER = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.([\w.]+)\.lora_([AB])\.weight")


@dataclass(frozen=True)
class LlmFacts:
    """An LLM's name, its configuration in transformers, and the texts of its start and end token."""

    name: str
    config: Any
    start: str
    end: str

    @property
    def hidden_size(self) -> int:
        """Length of a token's embedding."""
        return int(self.config.hidden_size)


def read_llm(source: str) -> LlmFacts:
    """Read a folder or GGUF file, which asks no hub, or a model of the hub. Raises `MissingWeights`."""
    from transformers import AutoConfig, AutoTokenizer

    path = Path(source)
    where: dict[str, Any] = {"local_files_only": path.exists()}
    if path.suffix == ".gguf":
        where["gguf_file"], source = path.name, str(path.parent)
    try:
        config: Any = AutoConfig.from_pretrained(source, **where)
        tokenizer: Any = AutoTokenizer.from_pretrained(source, **where)
    except (OSError, ValueError) as error:
        raise MissingWeights(f"no LLM at {path}: {error}") from error
    return LlmFacts(path.name, config, str(tokenizer.bos_token), str(tokenizer.eos_token))


def read_adapter(folder: Path) -> tuple[Any, Weights]:
    """Read PEFT's `LoraConfig` and its weights. Raises `MissingWeights` or `WrongWeights`."""
    from peft import LoraConfig

    if not (folder / "adapter_config.json").is_file():
        raise MissingWeights(f"{folder} has no adapter_config.json: it is not a folder of PEFT")
    try:
        settings: Any = LoraConfig.from_pretrained(str(folder))
    except (ValueError, TypeError) as error:
        raise WrongWeights(f"{folder}/adapter_config.json does not describe a LoRA: {error}") from error
    for name in (_WEIGHTS, _PICKLE):
        if (folder / name).is_file():
            return settings, read_weights(folder / name)
    raise MissingWeights(f"{folder} has none of {_WEIGHTS}, {_PICKLE}")


def check_adapter(weights: Weights, settings: Any, llm: LlmFacts, path: Path) -> None:
    """Raise `WrongWeights` unless the weights are exactly those of this LoRA for this LLM, with their shapes."""
    from peft import get_peft_model
    from peft.utils import get_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    settings.base_model_name_or_path = None
    # Only names and shapes are needed, and on the meta device a model of any size takes no memory.
    with torch.device("meta"):
        kind: Any = AutoModelForCausalLM
        base: Any = kind.from_config(llm.config)
        try:
            adapted: Any = get_peft_model(base, settings)
        except ValueError as error:
            raise WrongWeights(f"the LoRA of {path} fits no layer of {llm.name}: {error}") from error
        wanted: Weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    check_names(weights, wanted, path)
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise WrongWeights(
                f"{path}: {name} is {list(value.shape)}, for {llm.name} it should be {list(wanted[name].shape)}"
            )


def check_adapter_of_gguf(weights: Weights, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Check a LoRA for the LLM in a GGUF file whose tensors have these shapes, as `check_adapter` does.

    To build a model of transformers from such a file would take most of a minute.
    """
    for name, value in weights.items():
        found = _LAYER.fullmatch(name)
        if found is None or found[2] not in _IN_GGUF:
            raise WrongWeights(f"{path} holds unknown {name}")
        tensor = f"blk.{found[1]}.{_IN_GGUF[found[2]]}.weight"
        if tensor not in shapes:
            raise WrongWeights(f"{path}: {name} is for a layer that the LLM does not have")
        # GGUF puts inputs first. A maps inputs to the rank, B maps the rank to outputs.
        inputs, outputs = shapes[tensor]
        size, side = (inputs, 1) if found[3] == "A" else (outputs, 0)
        if value.dim() != 2 or value.shape[side] != size:
            raise WrongWeights(f"{path}: {name} is {list(value.shape)}, the LLM's layer has {size} there")
    kinds = {found[2] for name in weights if (found := _LAYER.fullmatch(name)) is not None}
    wanted = 2 * len(kinds) * sum(name.endswith(".attn_q.weight") for name in shapes)
    if not weights or len(weights) != wanted:
        raise WrongWeights(f"{path} holds {len(weights)} tensors, a LoRA of the same layers of this LLM has {wanted}")


def save_adapter(weights: Weights, settings: Any, llm: str, folder: Path) -> None:
    """Write a folder of PEFT, with weights in safetensors."""
    folder.mkdir()
    tensors = {name: value.float().contiguous().clone() for name, value in weights.items()}
    save_file(tensors, folder / _WEIGHTS)
    settings.base_model_name_or_path = llm
    settings.inference_mode = True
    settings.save_pretrained(str(folder))


def merge_lora(llm: Llm, folder: Path) -> None:
    """Add a LoRA in PEFT's format to the weights that it adapts, so that decoding costs nothing extra.

    Raises:
        MissingWeights: a file is missing.
        WrongWeights: it is not a LoRA, or not for this LLM: a tensor is missing or has no place.
    """
    from peft import get_peft_model
    from peft.utils import set_peft_model_state_dict

    if not (folder / _WEIGHTS).is_file():
        if (folder / _PICKLE).is_file():
            raise WrongWeights(
                f"{folder} has {_PICKLE}, a pickle, which can run code when it is read and is not opened: "
                f"save it as {_WEIGHTS}"
            )
        raise MissingWeights(f"there is no {folder / _WEIGHTS}")
    settings, weights = read_adapter(folder)
    if settings.peft_type != "LORA":
        raise WrongWeights(f"{folder} holds an adapter of the kind {settings.peft_type}, and only a LORA can be merged")
    settings.inference_mode = True
    # This is where the LLM lay when the LoRA was trained. PEFT would warn if it lies elsewhere now.
    settings.base_model_name_or_path = None
    try:
        adapted: Any = get_peft_model(llm.model, settings)
        found: Any = set_peft_model_state_dict(adapted, weights)
    except (ValueError, TypeError, RuntimeError) as error:
        raise WrongWeights(
            f"the LoRA in {folder} does not fit {type(llm.model).__name__}: {' '.join(str(error).split())}"
        ) from error
    missing = [name for name in found.missing_keys if "lora_" in name]
    for kind, names in (("unknown", found.unexpected_keys), ("without", missing)):
        if names:
            raise WrongWeights(
                f"the LoRA in {folder} does not fit {type(llm.model).__name__}: {kind} {sorted(names)[0]}"
            )
    adapted.merge_and_unload()
