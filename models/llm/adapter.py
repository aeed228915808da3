"""Merges the LoRA of a bundle into its LLM."""

from pathlib import Path
from typing import Any

from models.llm.adapter_import import read_adapter
from models.llm.language_model import Llm
from models.weights import MissingWeights, WrongWeights

_FILE, _PICKLE = "adapter_model.safetensors", "adapter_model.bin"


def merge_lora(llm: Llm, folder: Path) -> None:
    """Add a LoRA in PEFT's format to the weights that it adapts, so that decoding costs nothing extra.

    Raises:
        MissingWeights: a file is missing.
        WrongWeights: it is not a LoRA, or not for this LLM: a tensor is missing or has no place.
    """
    from peft import get_peft_model
    from peft.utils import set_peft_model_state_dict

    if not (folder / _FILE).is_file():
        if (folder / _PICKLE).is_file():
            raise WrongWeights(
                f"{folder} has {_PICKLE}, a pickle, which can run code when it is read and is not opened: "
                f"save it as {_FILE}"
            )
        raise MissingWeights(f"there is no {folder / _FILE}")
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
        raise WrongWeights(f"the LoRA in {folder} does not fit {type(llm.model).__name__}: {_line(error)}") from error
    missing = [name for name in found.missing_keys if "lora_" in name]
    for kind, names in (("unknown", found.unexpected_keys), ("without", missing)):
        if names:
            raise WrongWeights(
                f"the LoRA in {folder} does not fit {type(llm.model).__name__}: {kind} {sorted(names)[0]}"
            )
    adapted.merge_and_unload()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
