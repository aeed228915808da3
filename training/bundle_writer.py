"""Writes what was trained as a bundle: the files of the one it began with, and its own projector, LoRA and card."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from models.bundle.checksums import SUMS, seal
from models.bundle.config import ADAPTER, PROJECTOR, BundleConfig, read_config
from training.batches import CaptionLoss

_REPLACED = {PROJECTOR, ADAPTER, SUMS, "README.md", "bundle.json", "__pycache__", "__init__.py"}


class OutputExists(ValueError):
    """The folder for the new bundle holds something that is no bundle written by training."""


def check_output(out: Path) -> None:
    """Raises `OutputExists` unless the folder is missing, empty, or a bundle that training wrote."""
    if out.exists() and not (out / "training.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExists(f"{out} exists and is no bundle that training wrote; name another --out")


def write_bundle(
    out: Path, base: Path, name: str, loss: CaptionLoss, llm_name: str, facts: Mapping[str, Any], card: str
) -> None:
    """Write the folder `out` whole or not at all.

    Args:
        base: the bundle trained from; its CLAP and settings are kept.
        facts: for ``training.json``: options, corpora, range, losses.
        card: for ``README.md``.
    """
    unfinished = out.with_name(out.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for path in base.iterdir():
        if path.name in _REPLACED:
            continue
        if path.is_file():
            shutil.copyfile(path, unfinished / path.name)
        else:  # a tokenizer that came with the CLAP
            shutil.copytree(path, unfinished / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    config = _config(read_config(base), name, facts)
    (unfinished / "bundle.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (unfinished / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (unfinished / "README.md").write_text(card, encoding="utf-8")
    # Half precision: the projector was trained on noisy vectors, far coarser than that.
    save_file({k: v.half().cpu() for k, v in loss.projector.state_dict().items()}, unfinished / PROJECTOR)
    _save_adapter(loss.llm, unfinished / ADAPTER, llm_name)
    for path in unfinished.rglob("*.safetensors"):
        # safetensors makes files for their owner alone, and a service often runs as somebody else.
        path.chmod(0o644)
    seal(unfinished)
    shutil.rmtree(out, ignore_errors=True)
    unfinished.rename(out)


def _save_adapter(llm: Any, folder: Path, llm_name: str) -> None:
    folder.mkdir()
    weights = {name: tensor.half().cpu().contiguous() for name, tensor in get_peft_model_state_dict(llm).items()}
    save_file(weights, folder / "adapter_model.safetensors")
    config = llm.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(str(folder))
    path = folder / "adapter_config.json"
    # PEFT writes where the base model lay on this machine, which is nobody else's business.
    known = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": llm_name}
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _config(base: BundleConfig, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    config = base.model_dump(mode="json")
    config["name"] = name
    config["llm"]["adapter"] = True
    config["provenance"] = base.provenance | {
        "decoder": "trained on text only: README.md and training.json beside this"
    }
    licences = {corpus["name"]: corpus["licence"] for corpus in facts["corpora"]}
    config["licences"] = {
        part: licence for part, licence in base.licences.items() if "projector" not in part and "adapter" not in part
    } | {f"captions of {corpus} (projector and adapter)": licence for corpus, licence in licences.items()}
    return config
