"""Writes a trained bundle: the base bundle's files with a new projector, LoRA and model card."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from models.bundle.config import ADAPTER, PROJECTOR, BundleConfig, read_config
from models.bundle.writer import NOT_COPIED, new_bundle, write_config
from training.loss import CaptionLoss

_FACTS, _CARD = "training.json", "README.md"


class OutputExists(ValueError):
    """The folder for the new bundle holds something that training did not write."""


def check_output(out: Path) -> None:
    """Raises `OutputExists` unless the folder is missing, empty, or a bundle that training wrote."""
    if out.exists() and not (out / _FACTS).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExists(f"{out} exists and is no bundle that training wrote; name another --out")


def write_bundle(
    out: Path, base: Path, name: str, loss: CaptionLoss, llm_name: str, facts: Mapping[str, Any], card: str
) -> None:
    """Write the folder `out` completely or not at all.

    Args:
        out: checked with `check_output`; an older trained bundle in it is replaced.
        base: the bundle trained from; its CLAP and settings are kept.
        name: of the new bundle.
        loss: holds the trained projector and LoRA.
        llm_name: stands in the adapter's config in place of a path on this machine.
        facts: for ``training.json``: options, corpora, range, losses.
        card: for ``README.md``.
    """
    with new_bundle(out, replace=True) as folder:
        ignored = shutil.ignore_patterns(*NOT_COPIED, PROJECTOR, ADAPTER, _CARD, "bundle.json")
        shutil.copytree(base, folder, dirs_exist_ok=True, ignore=ignored, copy_function=shutil.copyfile)
        write_config(_config(read_config(base), name, facts), folder)
        (folder / _FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (folder / _CARD).write_text(card, encoding="utf-8")
        # Half precision: the projector was trained on noisy vectors, far coarser than that.
        save_file({k: v.half().cpu() for k, v in loss.projector.state_dict().items()}, folder / PROJECTOR)
        _save_adapter(loss.llm, folder / ADAPTER, llm_name)


def _save_adapter(llm: Any, folder: Path, llm_name: str) -> None:
    folder.mkdir()
    weights = {name: tensor.half().cpu().contiguous() for name, tensor in get_peft_model_state_dict(llm).items()}
    save_file(weights, folder / "adapter_model.safetensors")
    config = llm.peft_config["default"]
    config.inference_mode = True
    config.base_model_name_or_path = llm_name
    config.save_pretrained(str(folder))


def _config(base: BundleConfig, name: str, facts: Mapping[str, Any]) -> BundleConfig:
    kept = {part: text for part, text in base.licences.items() if "projector" not in part and "adapter" not in part}
    captions = {f"captions of {one['name']} (projector and adapter)": one["licence"] for one in facts["corpora"]}
    provenance = {"decoder": "trained on text only: README.md and training.json beside this"}
    return base.model_copy(
        update={
            "name": name,
            "llm": base.llm.model_copy(update={"adapter": True}),
            "provenance": base.provenance | provenance,
            "licences": kept | captions,
        }
    )
