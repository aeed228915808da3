"""What a bundle is, as a document: its parts with their sizes, its prompt, its settings, its licences."""

import json
from pathlib import Path
from typing import Any

from models.bundle.check import Checked, look_at
from models.bundle.checksums import SUMS
from models.bundle.config import BundleError
from models.checkpoints import count_parameters, read_shapes
from models.clap.backend import CLAP
from models.clap.loading import find_backend
from models.weights import MissingWeights, Part, WrongWeights

Document = dict[str, Any]


def describe(folder: Path) -> Document:
    """The bundle in `folder`; what cannot be told is None. Raises `BundleError` where bundle.json is not valid."""
    checked = look_at(folder)
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
        # Not all of its weights are in this file.
        return None
    try:
        return count_parameters(path)
    except (WrongWeights, MissingWeights):
        return None


def _projector(checked: Checked) -> Document | None:
    path = checked.part("projector")
    try:
        shapes = {} if path is None else read_shapes(path)
        inner, inputs = shapes["linear1.weight"].shape
        rows = shapes["linear2.weight"].shape[0]
    except (WrongWeights, KeyError, ValueError):
        return None
    tokens = None if checked.llm is None else rows // checked.llm.hidden
    return {"inputs": inputs, "inner": inner, "outputs": rows, "audio_tokens": tokens}


def _adapter(checked: Checked) -> Document | None:
    path = checked.part("adapter settings")
    try:
        facts = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
        return {name: facts[name] for name in ("peft_type", "r", "lora_alpha", "target_modules")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
