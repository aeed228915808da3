"""Describes a bundle as a document: its parts and their sizes, prompt, settings and licences."""

import json
from pathlib import Path
from typing import Any

from models.bundle.check import Checked, look_at
from models.bundle.checksums import SUMS
from models.bundle.config import BundleError
from models.checkpoints import count_parameters, read_shapes
from models.clap.backend import CLAP
from models.clap.loading import find_backend
from models.llm.projector import check_shapes
from models.weights import MissingWeights, Part, WrongWeights

Document = dict[str, Any]


def describe(folder: Path, quantisation_setting: str = "quantisation") -> Document:
    """Describe the bundle in `folder`; unknown values are None. Raises `BundleError` if bundle.json is not valid."""
    checked = look_at(folder, quantisation_setting)
    config = checked.config
    if config is None:
        raise BundleError("; ".join(problem.said for problem in checked.problems))
    plain = config.model_dump(mode="json")
    return {
        "name": config.name,
        "folder": str(folder.resolve()),
        "clap": {**plain["clap"], "embedding_dim": checked.embedding_dim, "parameters": _clap_parameters(checked)},
        "llm": {**plain["llm"], **(vars(checked.llm) if checked.llm else {})},
        "projector": _projector(checked),
        "adapter": _adapter(checked),
        **{name: plain[name] for name in ("prompt", "projection", "retrieval", "generation")},
        "licences": plain["licences"],
        "provenance": plain["provenance"],
        "parts": {part.name: _placed(part) for part in checked.parts},
        "sealed": (folder / SUMS).is_file(),
        "problems": [f"{problem.part}: {problem.said}" for problem in checked.problems],
    }


def _placed(part: Part) -> Document:
    return {"kind": part.kind, "path": None if part.path is None else str(part.path), "bytes": part.size}


def _clap_parameters(checked: Checked) -> int | None:
    path = checked.part(CLAP)
    if path is None or checked.config is None or find_backend(checked.config.clap.backend).towers:
        # This file holds only some of the weights.
        return None
    try:
        return count_parameters(path)
    except (WrongWeights, MissingWeights):
        return None


def _projector(checked: Checked) -> Document | None:
    path = checked.part("projector")
    try:
        sizes = None if path is None else check_shapes(read_shapes(path), path, None, None)
    except (WrongWeights, ValueError):
        return None
    if sizes is None:
        return None
    inputs, inner, outputs = sizes
    tokens = None if checked.llm is None else outputs // checked.llm.hidden
    return {"inputs": inputs, "inner": inner, "outputs": outputs, "audio_tokens": tokens}


def _adapter(checked: Checked) -> Document | None:
    path = checked.part("adapter settings")
    try:
        facts = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
        return {name: facts[name] for name in ("peft_type", "r", "lora_alpha", "target_modules")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
